//! A raw client against the real binary: what no decent client sends, and what clients rarely do.

mod datagrams;
mod fields;
mod frames;
mod malformed;
mod streams;
