//! Ordered maps over chunks, whose shape depends on content alone.
