//! Makes call n fail. Being written.
