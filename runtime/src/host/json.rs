//! Writing JSON: objects field by field, on one line.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// An object under construction.
pub struct Object {
    text: String,
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

impl Object {
    pub fn new() -> Object {
        Object { text: String::from("{") }
    }

    /// A field whose value is JSON already: a number, `true`, an array, an object.
    pub fn raw(mut self, name: &str, value: impl core::fmt::Display) -> Object {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text += &format!("{}:{value}", string(name));
        self
    }

    pub fn string(self, name: &str, value: &str) -> Object {
        self.raw(name, string(value))
    }

    pub fn end(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// An array of values that are JSON already.
pub fn array(values: impl IntoIterator<Item = String>) -> String {
    let mut text = String::from("[");
    for value in values {
        if text.len() > 1 {
            text.push(',');
        }
        text += &value;
    }
    text.push(']');
    text
}

/// A finite number; JSON has no other, so those become `null`.
pub fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { String::from("null") }
}

/// A string with quotes and escapes.
pub fn string(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => text += "\\\"",
            '\\' => text += "\\\\",
            '\n' => text += "\\n",
            c if (c as u32) < 0x20 => {
                let _ = write!(text, "\\u{:04x}", c as u32);
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}
