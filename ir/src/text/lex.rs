//! Tokens of the text form.
//!
//! Words are runs of letters, digits, `_`, `.`, `-` and `+` (so `2x2`, `1e-5`, `f32`, `fuse-epilogue` are one
//! token); an operator sign stands alone, between spaces. Comments run from `//` to the end of the line.

use crate::diag::{Diagnostic, Place};
use std::ops::Range;

/// Most problems that are worth listing; reading stops there.
pub(super) const MOST_PROBLEMS: usize = 100;
/// Longest token.
const LIMIT: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// `%name`
    Value,
    /// `@name`
    Symbol,
    /// `"text"`
    String,
    /// One character, or `->`, `..`
    Punct,
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// First token of its line: where parsing goes on after a mistake.
    pub first: bool,
    pub kind: Kind,
    pub span: Range<usize>,
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b'+')
}

/// Cuts `text` into tokens; what is no token is reported and left out. After the last problem that is worth listing
/// the text ends.
pub fn lex(text: &str, problems: &mut Vec<Diagnostic>) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < bytes.len() && problems.len() < MOST_PROBLEMS {
        let start = i;
        let c = bytes[i];
        let kind = match c {
            b' ' | b'\t' | b'\r' | b'\n' => {
                i += 1;
                continue;
            }
            b'/' if bytes.get(i + 1) == Some(&b'/') => {
                i += bytes[i..].iter().position(|&c| c == b'\n').unwrap_or(bytes.len() - i);
                continue;
            }
            b'"' => {
                i += 1;
                while i < bytes.len() && bytes[i] != b'"' && bytes[i] != b'\n' {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                if bytes.get(i) == Some(&b'"') {
                    i += 1;
                } else {
                    i = i.min(bytes.len());
                    while !text.is_char_boundary(i) {
                        i -= 1;
                    }
                    problems.push(Diagnostic::error("E0002", "the string has no end").at(Place::Text(start..i), ""));
                }
                Kind::String
            }
            b'%' | b'@' => {
                i += 1;
                while i < bytes.len() && is_word(bytes[i]) && !bytes[i..].starts_with(b"..") {
                    i += 1;
                }
                if c == b'%' { Kind::Value } else { Kind::Symbol }
            }
            b'-' if bytes.get(i + 1) == Some(&b'>') => {
                i += 2;
                Kind::Punct
            }
            b'.' if bytes.get(i + 1) == Some(&b'.') => {
                i += 2;
                Kind::Punct
            }
            _ if is_word(c) => {
                while i < bytes.len() && is_word(bytes[i]) && !bytes[i..].starts_with(b"..") {
                    i += 1;
                }
                Kind::Word
            }
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b',' | b':' | b'=' | b'*' | b'|' | b'/' => {
                i += 1;
                Kind::Punct
            }
            _ => {
                let c = text[start..].chars().next().unwrap_or(' ');
                i += c.len_utf8();
                let message = format!("{c:?} means nothing here");
                problems.push(Diagnostic::error("E0001", message).at(Place::Text(start..i), ""));
                continue;
            }
        };
        if i - start > LIMIT {
            let message = format!("a token of {} bytes; the longest may have {LIMIT}", i - start);
            problems.push(Diagnostic::error("E0003", message).at(Place::Text(start..start + 16), ""));
            continue;
        }
        let end = tokens.last().map_or(0, |t: &Token| t.span.end);
        let first = start == 0 || bytes[end..start].contains(&b'\n');
        tokens.push(Token { kind, first, span: start..i });
    }
    tokens.push(Token { kind: Kind::End, first: true, span: text.len()..text.len() });
    tokens
}
