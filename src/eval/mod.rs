//! Evaluation: how often compiled networks are right about labelled pictures.
//!
//! | module | is |
//! |---|---|
//! | [`batches`] | a compiled network that takes pictures in groups |
//! | [`responses`] | how strongly layers respond |
//! | [`size`] | a network for pictures of another size |
//! | [`views`] | crops, mirror images and sizes of a picture |
//! | [`ensemble`] | networks that look at the same pictures, each alone and together |
//! | [`tally`] | what came out: counts by class and answer |

pub mod batches;
pub mod ensemble;
pub mod responses;
pub mod size;
pub mod tally;
pub mod views;
