//! Renderers: pure functions from events to text.
