//! petgraph visit traits.
pub struct GraphRef;
