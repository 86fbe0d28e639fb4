//! Tables and numbers as people read them.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// An empty table without lines, its columns two spaces apart.
pub fn table(header: &[&str]) -> Table {
    let mut t = Table::new();
    t.load_style(NOTHING).set_header(header);
    for c in t.column_iter_mut() {
        c.set_padding((0, 2));
    }
    t
}

/// The table as lines without blanks at their ends.
pub fn lines(table: &Table) -> String {
    table.to_string().lines().flat_map(|l| [l.trim_end(), "\n"]).collect()
}

/// Bytes with a unit, e.g. `1.25 MB`.
pub fn bytes(n: u64) -> String {
    let (unit, name) = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")]
        .into_iter()
        .find(|&(u, _)| n >= u)
        .unwrap_or((1, "B"));
    if unit == 1 { format!("{n} B") } else { format!("{:.2} {name}", n as f64 / unit as f64) }
}

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// The same for a table, whose columns are easier to read without zeros.
pub fn count_or_blank(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

/// `1 node`, `1,234 nodes`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_a_number_in_a_sentence() {
        assert_eq!([0, 7, 1_234_567].map(count), ["0", "7", "1,234,567"]);
        assert_eq!([0, 1_000].map(count_or_blank), ["", "1,000"]);
        let parameters = |n| counted(n, "parameter");
        assert_eq!([0, 1, 2_000].map(parameters), ["0 parameters", "1 parameter", "2,000 parameters"]);
    }
}
