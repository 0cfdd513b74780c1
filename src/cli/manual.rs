//! Shell completions and manual pages.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use super::{Failure, print};

const NAME: &str = "mio-quiche";

#[derive(Debug, ClapArgs)]
pub(super) struct Completions {
    /// The shell to complete in
    shell: Shell,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Man {
    /// Directory for the pages, such as /usr/local/share/man/man1
    dir: PathBuf,
}

/// Prints the completions, such as for `source <(mio-quiche completions bash)`.
pub(super) fn completions(args: &Completions, mut root: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut root, NAME, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes a page for the command, and one for each of its commands.
pub(super) fn man(args: &Man, mut root: Command) -> Result<(), Failure> {
    let failed = |at: &Path, e| Failure::Runtime(format!("cannot write '{}': {e}", at.display()));
    std::fs::create_dir_all(&args.dir).map_err(|e| failed(&args.dir, e))?;
    root.build();
    let shown = root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let pages = shown.map(|command| (format!("{NAME}-{}", command.get_name()), command.clone()));
    for (name, command) in pages.chain([(NAME.to_owned(), root.clone())]) {
        let at = args.dir.join(format!("{name}.1"));
        std::fs::write(&at, page(command.display_name(name))).map_err(|e| failed(&at, e))?;
    }
    Ok(())
}

fn page(command: Command) -> Vec<u8> {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(command).render(&mut page);
    page
}
