//! Limits of the qlog files that a command writes.

use clap::Args as ClapArgs;
use mio_quiche::QlogMax;

#[derive(Debug, ClapArgs)]
pub(crate) struct QlogLimits {
    /// Keep the N newest qlog files (default 100) of at most BYTES each; a connection with more goes on in another file
    #[arg(long = "qlog-max", value_name = "BYTES[,N]")]
    pub(crate) max: Option<QlogMax>,
}
