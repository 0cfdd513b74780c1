//! Hands quiche's exact version, which `Cargo.toml` pins, to `mio_quiche::version()`.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.toml");
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap_or_default();
    let version = manifest
        .lines()
        .find_map(|line| {
            // `cargo package` rewrites the dependency as a table of its own, hence no look at the key.
            let pin = line.split_once("= \"=")?.1;
            pin.split_once('"').map(|(version, _)| version.to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=MIO_QUICHE_QUICHE_VERSION={version}");
}
