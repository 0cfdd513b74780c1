use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use super::*;

fn item(name: &[u8], len: Option<u64>, seconds: u64) -> Item {
    let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    Item { name: OsString::from_vec(name.to_vec()), is_dir: len.is_none(), len, modified }
}

fn listing(items: Vec<Item>) -> Listing {
    let total = items.len() as u64;
    Listing { items, total }
}

#[test]
fn names_are_escaped_and_links_are_exact() {
    let names: [(&[u8], &str, &str); 8] = [
        (b"<script>alert(1)</script>", "%3Cscript%3Ealert%281%29%3C", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (b"a\"b'c&d", "a%22b%27c%26d", "a&quot;b&#39;c&amp;d"),
        (b"javascript:alert(1)", "javascript%3Aalert%281%29", "javascript:alert(1)"),
        (b"caf\xe9", "caf%E9", "caf\u{fffd}"),
        ("žluť".as_bytes(), "%C5%BElu%C5%A5", "žluť"),
        (b"new\nline\x1b[0m", "new%0Aline%1B%5B0m", "new\u{fffd}line\u{fffd}[0m"),
        ("txt\u{202e}exe".as_bytes(), "txt%E2%80%AEexe", "txt\u{fffd}exe"),
        (b"100%?#;+ ", "100%25%3F%23%3B%2B%20", "100%?#;+ "),
    ];
    for (name, href, text) in names {
        let page = html(&listing(vec![item(name, Some(1), 0)]), "/", true, Order::of(None, None));
        assert!(page.contains(&format!("<tr><td><a href=\"{href}")), "{page}");
        assert!(page.contains(&format!("\">{text}</a>")), "{page}");
    }
}

#[test]
fn a_page_says_what_there_is() {
    let items = vec![item(b"dir", None, 0), item(b"file", Some(1536), 1_700_000_000)];
    let page = html(&listing(items), "/a%3Cb/c/", false, Order::of(Some("size"), None));
    for part in [
        "<title>/a&lt;b/c/</title>",
        "<h1><a href=\"/\">/</a> <a href=\"../\">a&lt;b/</a> <a href=\"./\">c/</a></h1>",
        "<th class=\"\"><a href=\"?sort=name&amp;order=asc\">Name</a>",
        "<th class=\"s\"><a href=\"?sort=size&amp;order=desc\">Size \u{25b2}</a>",
        "<tr><td><a href=\"../\">../</a>",
        "<tr><td><a href=\"dir/\">dir/</a><td class=\"s\"><td class=\"d\">1970-01-01<i> 00:00</i>\n",
        "<tr><td><a href=\"file\">file</a><td class=\"s\">1.5 KiB<td class=\"d\">2023-11-14<i> 22:13</i>\n</table>\n",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains("<p>"));
    let order = Order::of(None, Some("desc"));
    let empty = html(&listing(Vec::new()), "/", true, order);
    assert!(empty.contains("<p>Empty.</p>") && !empty.contains("../") && empty.contains("Name \u{25bc}"), "{empty}");
    let long = html(&Listing { items: vec![item(b"a", Some(0), 0)], total: 1_000_000 }, "/", true, order);
    assert!(long.contains("<p>The first 1 of 1000000 entries, by name.</p>"), "{long}");
}

#[test]
fn json_has_everything_a_program_needs() {
    let items = vec![item(b"d", None, 0), item(b"caf\xe9", Some(7), 1_700_000_000)];
    let value: Value = serde_json::from_slice(&json(&listing(items), Order::of(None, None))).unwrap();
    let expected = json!({ "total": 2, "entries": [
        { "name": "d", "href": "d/", "type": "directory", "size": null, "modified": "1970-01-01T00:00:00Z" },
        { "name": "caf\u{fffd}", "href": "caf%E9", "type": "file", "size": 7, "modified": "2023-11-14T22:13:20Z" },
    ] });
    assert_eq!(value, expected);
}

#[test]
fn sizes_and_dates() {
    for (len, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024, "1.0 MiB"),
        (10 * 1024 * 1024 * 1024, "10.0 GiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(size(len), text);
    }
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(date(Some(before), JSON_DATE).as_deref(), Some("1969-12-31T23:59:59Z"));
    let late = SystemTime::UNIX_EPOCH + Duration::from_secs(300_000_000_000);
    assert_eq!(date(Some(late), JSON_DATE), None);
}
