//! Fields as browsers and proxies send them, and as they must not be.

use crate::support::client::{Client, get};
use crate::support::frames::{fields, headers};
use crate::support::server::Server;

#[test]
fn the_crumbs_of_150_cookies_are_one_field() {
    // M1
    let server = Server::start(&["--max-fields", "1"]);
    let mut client = Client::connect(server.addr());
    let crumbs = |n: usize| (0..n).map(|n| format!("|cookie name{n}=value-of-cookie-{n}")).collect::<String>();
    for count in [95, 150] {
        let id = client.raw_stream(&headers(&fields(&format!("{}{}", get("/"), crumbs(count)))), true);
        let answer = client.answer(id);
        assert_eq!((answer.status(), answer.text()), (200, "Hello, HTTP/3!\n"), "{count} cookies");
    }
    let id = client.raw_stream(&headers(&fields(&format!("{}|x-a 1{}", get("/"), crumbs(150)))), true);
    let text = "431 Request Header Fields Too Large: 2 fields, more than 1 (max_fields)\n";
    assert_eq!(client.answer(id).text(), text);
}
