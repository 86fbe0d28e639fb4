//! Class names: a text file with a class a line, or a table with columns `class` and `name`.

use ir::{Diagnostic, Diagnostics, Place};

/// Class names of CIFAR-10, a line each.
pub const CIFAR10: &str = include_str!("../../examples/labels/cifar10.txt");

const MAX_NAME_BYTES: usize = 4096;

/// The names in order of their classes. There must be `classes` of them.
pub fn parse(text: &str, classes: u64) -> Result<Vec<String>, Diagnostics> {
    let lines: Vec<&str> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
    let names = match lines.split_first() {
        Some((head, rows)) if head.contains('\t') => table(text, head, rows)?,
        _ => lines.iter().map(|l| l.trim().to_string()).collect(),
    };
    if let Some(long) = names.iter().position(|n| n.len() > MAX_NAME_BYTES || n.contains(char::is_control)) {
        let d = Diagnostic::error("E0310", format!("class name {long} is too long or has control characters"));
        return Err(d.help("a labels file is plain text with a class a line").into());
    }
    if names.len() as u64 != classes {
        let d = Diagnostic::error("E0310", format!("{} class names for {classes} classes", names.len()));
        return Err(d.help("a labels file has a line for each class, in order").into());
    }
    Ok(names)
}

fn table(text: &str, head: &str, rows: &[&str]) -> Result<Vec<String>, Diagnostics> {
    let columns: Vec<&str> = head.split('\t').collect();
    let column = |name: &str| columns.iter().position(|c| c.eq_ignore_ascii_case(name));
    let (Some(class), Some(name)) = (column("class"), column("name")) else {
        let d = Diagnostic::error("E0310", "the table has no columns 'class' and 'name'");
        return Err(d.at(Place::Text(0..head.len()), "").help("or give a text file with a class a line").into());
    };
    let mut problems = Diagnostics::default();
    let mut names = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
        let cells: Vec<&str> = row.split('\t').collect();
        match (cells.get(class).map(|c| c.parse::<usize>()), cells.get(name)) {
            (Some(Ok(c)), Some(n)) if c == names.len() => names.push(n.to_string()),
            _ => {
                let at = row.as_ptr().addr() - text.as_ptr().addr();
                let d = Diagnostic::error("E0310", format!("row {} is not class {} with its name", i + 1, names.len()));
                problems.push(d.at(Place::Text(at..at + row.len()), "").help("rows are in order of class, from 0"));
                break;
            }
        }
    }
    problems.into_result(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_tables() {
        assert_eq!(parse("cat\ndog\n", 2).unwrap(), ["cat", "dog"]);
        assert_eq!(parse("class\twnid\tname\n0\tn1\ttench\n1\tn2\tgold fish\n", 2).unwrap(), ["tench", "gold fish"]);
        assert!(parse("cat\n", 2).unwrap_err().to_string().contains("1 class names for 2"));
        assert!(parse("class\tname\n1\tx\n", 1).unwrap_err().to_string().contains("row 1"));
        assert!(parse("a\tb\n0\tx\n", 1).unwrap_err().to_string().contains("columns"));
    }
}
