//! The server's program: arguments, environment, logging, exit codes.

fn main() {}
