//! Patterns in URLs, as curl's: `{one,two}`, `[1-10]`, `[001-100:10]`, `[a-z:2]`.

use std::net::Ipv6Addr;

use super::failure::{Problem, URL};

/// URLs from one pattern.
const MAX_URLS: usize = 100_000;

/// A URL, and the values that the patterns have in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) url: String,
    pub(super) values: Vec<String>,
}

/// The URLs of a pattern, the last part changing first.
///
/// # Errors
/// A pattern that makes no sense, or too many URLs.
pub(super) fn expand(pattern: &str) -> Result<Vec<Expanded>, Problem> {
    let mut all = vec![Expanded { url: String::new(), values: Vec::new() }];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let at = pattern.len() - rest.len() + 1;
        let wrong =
            |why: &str| Problem::new(URL, format!("URL '{pattern}': {why} at character {at} (-g takes it as it is)"));
        let (text, set, after) = match c {
            '\\' if rest[1..].starts_with(['{', '}', '[', ']']) => (&rest[1..2], None, &rest[2..]),
            '{' => {
                let (inside, after) = rest[1..].split_once('}').ok_or_else(|| wrong("a { without its }"))?;
                if inside.is_empty() || inside.contains('{') {
                    return Err(wrong("a list that is empty or in another one"));
                }
                ("", Some(inside.split(',').map(str::to_owned).collect()), after)
            }
            '[' => {
                let (inside, after) = rest[1..].split_once(']').ok_or_else(|| wrong("a [ without its ]"))?;
                let host = inside.split('%').next().unwrap_or_default();
                if host.parse::<Ipv6Addr>().is_ok() {
                    (&rest[..inside.len() + 2], None, after)
                } else {
                    ("", Some(range(inside).ok_or_else(|| wrong("a bad range"))?), after)
                }
            }
            '}' | ']' => return Err(wrong("a bracket that nothing opens")),
            c => (&rest[..c.len_utf8()], None, &rest[c.len_utf8()..]),
        };
        rest = after;
        let Some(set) = set else {
            all.iter_mut().for_each(|one| one.url.push_str(text));
            continue;
        };
        if all.len().saturating_mul(set.len()) > MAX_URLS {
            return Err(wrong(&format!("more than {MAX_URLS} URLs")));
        }
        let with = |one: &Expanded, value: &String| {
            let values = one.values.iter().chain([value]).cloned().collect();
            Expanded { url: format!("{}{value}", one.url), values }
        };
        all = all.iter().flat_map(|one| set.iter().map(move |value| with(one, value))).collect();
    }
    Ok(all)
}

/// The values of `FIRST-LAST` or `FIRST-LAST:STEP`. `None` if it is none, or too long.
fn range(text: &str) -> Option<Vec<String>> {
    let (ends, step) = match text.split_once(':') {
        Some((ends, step)) => (ends, step.parse::<usize>().ok().filter(|step| *step > 0)?),
        None => (text, 1),
    };
    let (first, last) = ends.split_once('-')?;
    if let ([a], [b]) = (first.as_bytes(), last.as_bytes())
        && a.is_ascii_alphabetic()
        && b.is_ascii_alphabetic()
    {
        let values = (*a..=*b).step_by(step).map(|letter| char::from(letter).to_string());
        return Some(values.collect()).filter(|values: &Vec<_>| !values.is_empty());
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return None;
    }
    let (from, to): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let count = usize::try_from(to.checked_sub(from)?).ok()? / step;
    (count <= MAX_URLS).then(|| (from..=to).step_by(step).map(|number| format!("{number:0width$}")).collect())
}

/// A file's name with the values in place of `#1`, `#2`, ...
pub(super) fn fill(name: &str, values: &[String]) -> String {
    let (mut filled, mut rest) = (String::new(), name);
    while let Some((before, after)) = rest.split_once('#') {
        filled.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let value = after[..digits].parse::<usize>().ok().and_then(|n| values.get(n.checked_sub(1)?));
        filled.push_str(value.map_or("#", String::as_str));
        rest = if value.is_some() { &after[digits..] } else { after };
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(pattern: &str) -> Vec<String> {
        expand(pattern).expect("a pattern").into_iter().map(|one| one.url).collect()
    }

    #[test]
    fn patterns() {
        assert_eq!(urls("a{b,c}[1-2]"), ["ab1", "ab2", "ac1", "ac2"]);
        assert_eq!(urls("[008-010]x"), ["008x", "009x", "010x"]);
        assert_eq!(urls("[a-f:2]"), ["a", "c", "e"]);
        assert_eq!(urls("[1-10:4]"), ["1", "5", "9"]);
        assert_eq!(urls("https://[::1]:4433/{x}"), ["https://[::1]:4433/x"]);
        assert_eq!(urls("\\{a\\}ä{,b}"), ["{a}ä", "{a}äb"]);
        assert_eq!(expand("{a,b}-[7-8]").expect("a pattern")[3].values, ["b", "8"]);
        for wrong in [
            "{a",
            "[1-",
            "a}",
            "]",
            "{}",
            "{a{b}}",
            "[5-1]",
            "[a-1]",
            "[1-2:0]",
            "[1-9999999]",
            "[1-400][1-400]",
            "[z-a]",
        ] {
            assert_eq!(expand(wrong).expect_err(wrong).code, URL, "{wrong}");
        }
    }

    #[test]
    fn names() {
        let values = ["one".to_owned(), "2".to_owned()];
        assert_eq!(fill("f_#1-#2.#3#", &values), "f_one-2.#3#");
        assert_eq!(fill("#0#12", &values), "#0#12");
    }
}
