//! The pictures in one document.

use super::data::{Chart, Kind};
use super::panels::{Layout, Panel, panels};
use super::svg::{add, escape, time, xml};

/// Colours that differ for most colour-blind readers, in a light and a dark version.
const MARKS: &str = include_str!("marks.css");

const PAGE: &str = include_str!("page.css");

/// Events in the list below the pictures.
const MAX_LISTED: usize = 60;

/// The line below the title.
fn facts(chart: &Chart) -> String {
    let summary = &chart.summary;
    let mut facts = format!("{}, {}", escape(&summary.vantage_point), time(summary.duration_ms));
    if let Some(started) = &summary.started {
        add!(facts, ", from {}", escape(started));
    }
    // An idle timeout would push all that happened to the left.
    if chart.last_received * 1.2 < chart.end && chart.last_received > 0.0 {
        add!(facts, "; the pictures end at {}: nothing came after {}", time(chart.end), time(chart.last_received));
    } else if summary.duration_ms > chart.end + 0.1 {
        add!(facts, "; the pictures end with the last packet at {}", time(chart.end));
    }
    facts
}

fn name(chart: &Chart) -> String {
    let file = &chart.summary.file;
    escape(file.rsplit('/').next().unwrap_or(file))
}

pub(super) fn svg(chart: &Chart) -> String {
    const HEAD: f64 = 50.0;
    const CAPTION: f64 = 28.0;
    let layout = Layout::WIDE;
    let panels = panels(chart, layout);
    let height = HEAD + panels.iter().map(|panel| panel.height + CAPTION).sum::<f64>();
    let width = layout.width;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\">\n<title>{0}</title>\n<style>{MARKS}</style>\n\
         <rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n\
         <text class=\"title\" x=\"4\" y=\"20\">{0}</text><text class=\"caption\" x=\"4\" y=\"38\">{1}</text>\n",
        name(chart),
        facts(chart)
    );
    let mut top = HEAD;
    for Panel { title, caption, body, height } in panels {
        add!(out, "<g transform=\"translate(0 {top})\" role=\"img\" aria-label=\"{title}\">{body}");
        add!(out, "<text class=\"caption\" x=\"4\" y=\"{}\">{}</text></g>\n", height - 7.0, xml(&caption));
        top += height + CAPTION;
    }
    out.push_str("</svg>\n");
    out
}

pub(super) fn html(chart: &Chart) -> String {
    let name = name(chart);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{name}</title>\n\
         <style>{MARKS}{PAGE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n<p>{}</p>\n\
         <p class=\"dim wide\">Point at a mark to see what it is.</p>\n",
        facts(chart)
    );
    let narrow = panels(chart, Layout::NARROW);
    for (wide, narrow) in panels(chart, Layout::WIDE).into_iter().zip(narrow) {
        out.push_str("<figure>\n");
        for (class, width, panel) in [("wide", Layout::WIDE.width, &wide), ("narrow", Layout::NARROW.width, &narrow)] {
            let (title, height) = (panel.title, panel.height);
            add!(out, "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">");
            add!(out, "{}</svg>\n", panel.body);
        }
        match wide.caption == narrow.caption {
            true => {
                add!(out, "<figcaption>{}</figcaption>\n", xml(&wide.caption));
            }
            false => {
                add!(out, "<figcaption class=\"wide\">{}</figcaption>\n", xml(&wide.caption));
                add!(out, "<figcaption class=\"narrow\">{}</figcaption>\n", xml(&narrow.caption));
            }
        }
        out.push_str("</figure>\n");
    }
    // There are hundreds of changes of the congestion state, and the pictures show them.
    let listed: Vec<_> = chart.notes.iter().filter(|note| note.kind != Kind::Congestion).collect();
    if !listed.is_empty() {
        out.push_str("<details open><summary>Events</summary>\n<ol>\n");
        for note in listed.iter().take(MAX_LISTED) {
            add!(out, "<li>{}: {}</li>\n", time(note.at), escape(&note.text));
        }
        out.push_str("</ol>\n");
        let more = chart.notes_omitted + listed.len().saturating_sub(MAX_LISTED) as u64;
        if more > 0 {
            add!(out, "<p>{more} more are not listed.</p>\n");
        }
        out.push_str("</details>\n");
    }
    let summary = chart.summary.to_string();
    out.push_str("<details><summary>Summary</summary>\n<pre>");
    for line in summary.lines() {
        add!(out, "{}\n", xml(line));
    }
    out.push_str("</pre></details>\n</body>\n</html>\n");
    out
}
