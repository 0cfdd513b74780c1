//! Pictures of a connection: packets, congestion window, round trips, flow control, streams, events.
//!
//! They are written by hand: a drawing library such as plotters has neither titles that show what a mark is, nor colours
//! that follow the reader's scheme.

mod data;
mod page;
mod panels;
mod series;
mod svg;

pub use data::Chart;

impl Chart {
    /// All pictures in one SVG document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        page::svg(self)
    }

    /// A page of HTML with the pictures, the events and the summary. It needs nothing else: no network, no scripts.
    #[must_use]
    pub fn to_html(&self) -> String {
        page::html(self)
    }
}

#[cfg(test)]
mod tests;
