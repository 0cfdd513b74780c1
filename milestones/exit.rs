//! What the milestones share: how a program ends.

use std::process::ExitCode;

/// One clear line and exit code 1 for an error.
pub(crate) fn code(result: mio_quiche::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
