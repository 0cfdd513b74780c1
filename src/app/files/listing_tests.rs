use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;

use cap_std::ambient_authority;
use tempfile::TempDir;

use super::*;

fn names(items: &[&Item]) -> Vec<String> {
    items.iter().map(|item| item.name.to_string_lossy().into_owned()).collect()
}

fn tree() -> (TempDir, Dir) {
    let tmp = TempDir::new().unwrap();
    let dir = Dir::open_ambient_dir(tmp.path(), ambient_authority()).unwrap();
    (tmp, dir)
}

#[test]
fn what_is_not_served_is_not_listed() {
    let (tmp, dir) = tree();
    for name in ["b", "a", ".hidden"] {
        fs::write(tmp.path().join(name), name).unwrap();
    }
    fs::create_dir_all(tmp.path().join("z/inner")).unwrap();
    fs::create_dir(tmp.path().join(".git")).unwrap();
    symlink("a", tmp.path().join("link")).unwrap();
    symlink("z", tmp.path().join("linked-dir")).unwrap();
    symlink("/etc/passwd", tmp.path().join("outside")).unwrap();
    symlink("/etc", tmp.path().join("outside-dir")).unwrap();
    symlink("nothing", tmp.path().join("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tmp.path().join("socket")).unwrap();
    let listing = Listing::read(&dir, OsStr::new(""), 100).unwrap();
    let order = Order::of(None, None);
    assert_eq!(names(&listing.ordered(order)), ["linked-dir", "z", "a", "b", "link"]);
    assert_eq!(listing.total, 5);
    assert_eq!(names(&Listing::read(&dir, OsStr::new("z"), 100).unwrap().ordered(order)), ["inner"]);
    for path in ["outside-dir", "a", "nothing", "socket"] {
        let result = Listing::read(&dir, OsStr::new(path), 100);
        assert!(matches!(result, Err(LookupError::NotFound)), "{path}: {result:?}");
    }
}

#[test]
fn of_many_entries_the_first_by_name_are_kept() {
    let (tmp, dir) = tree();
    for n in 0..50 {
        fs::write(tmp.path().join(format!("{n:02}")), vec![0; 50 - n]).unwrap();
    }
    fs::create_dir(tmp.path().join("zz")).unwrap();
    let listing = Listing::read(&dir, OsStr::new(""), 4).unwrap();
    assert_eq!((listing.len(), listing.total), (4, 51));
    assert_eq!(names(&listing.ordered(Order::of(None, None))), ["zz", "00", "01", "02"]);
    assert_eq!(names(&listing.ordered(Order::of(None, Some("desc")))), ["zz", "02", "01", "00"]);
    assert_eq!(names(&listing.ordered(Order::of(Some("size"), Some("asc")))), ["zz", "02", "01", "00"]);
    assert_eq!(names(&listing.ordered(Order::of(Some("size"), Some("desc")))), ["zz", "00", "01", "02"]);
    assert_eq!(names(&listing.ordered(Order::of(Some("nonsense"), None))), ["zz", "00", "01", "02"]);
    let set = |name: &str, seconds| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().write(true).open(tmp.path().join(name)).unwrap().set_modified(time).unwrap();
    };
    set("00", 3);
    set("01", 1);
    set("02", 2);
    let listing = Listing::read(&dir, OsStr::new(""), 4).unwrap();
    assert_eq!(names(&listing.ordered(Order::of(Some("date"), None))), ["zz", "01", "02", "00"]);
}

#[test]
fn a_listing_is_used_ten_times_as_long_as_it_took() {
    let (tmp, dir) = tree();
    let (listings, start) = (Listings::default(), crate::net::now());
    let at = Cell::new(Duration::ZERO);
    let total = |took: u64| {
        let calls = Cell::new(0);
        let clock = || {
            calls.set(calls.get() + 1);
            start + at.get() + Duration::from_millis((calls.get() - 1) * took)
        };
        listings.get(&dir, b"", clock).unwrap().total
    };
    let add = |name: &str| fs::write(tmp.path().join(name), "").unwrap();
    assert_eq!(total(0), 0);
    add("a");
    at.set(Duration::from_millis(999));
    assert_eq!(total(0), 0);
    at.set(Duration::from_millis(1000));
    assert_eq!(total(500), 1);
    add("b");
    // Half a second after the beginning, and 5 s.
    at.set(Duration::from_millis(6499));
    assert_eq!(total(0), 1);
    at.set(Duration::from_millis(6500));
    assert_eq!(total(0), 2);
    for n in 0..100 {
        let _ = listings.get(&dir, format!("{n}/").as_bytes(), || start);
    }
    assert!(listings.0.lock().unwrap().len() <= MAX_KEPT);
}
