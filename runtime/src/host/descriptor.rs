//! Texts in a model's descriptor.

use crate::abi::Model;
use core::ffi::CStr;

/// A string of the model's descriptor; empty if it is null or not UTF-8.
pub fn text(s: *const u8) -> &'static str {
    if s.is_null() {
        return "";
    }
    // SAFETY: strings of a descriptor are NUL-terminated and live as long as the program.
    unsafe { CStr::from_ptr(s.cast()) }.to_str().unwrap_or("")
}

/// Name of a class, if the model knows it.
pub fn label(model: &Model, class: usize) -> Option<&str> {
    if model.labels.is_null() {
        return None;
    }
    // SAFETY: `labels_bytes` bytes that live as long as the model.
    let labels = unsafe { core::slice::from_raw_parts(model.labels, model.labels_bytes as usize) };
    core::str::from_utf8(labels).ok()?.split('\n').nth(class).filter(|name| !name.is_empty())
}
