//! Two servers in one process, over real sockets on the loopback interface and simulated disks: engine and cluster,
//! without SQL.

mod harness;
mod repair;
mod roles;
mod security;
mod shipping;
mod streams;
