//! From events to what a person reads.
