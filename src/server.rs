//! A whole server assembled from the layers above.
