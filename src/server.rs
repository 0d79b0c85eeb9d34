//! A whole server assembled from the layers below.
