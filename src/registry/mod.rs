//! Under construction.
pub mod lab_images;
