//! The runtime over the seeded simulator.
