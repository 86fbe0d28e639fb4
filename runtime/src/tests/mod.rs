//! Tests of the crate: hand-made models, pictures with Pillow's answers, hostile files.

mod app;
mod data;
mod driver;
mod model;
mod pictures;
mod pool;
mod train;
