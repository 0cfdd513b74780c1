//! The `mio-quiche` command.

fn main() {}
