//! A table of results that is printed for people, as Markdown or as CSV.

use comfy_table::CellAlignment;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// Markdown
    Md,
    /// Comma-separated values
    Csv,
    /// One JSON document, as --json
    Json,
}

/// Rows of text under headings. Numbers stand at the right.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    heads: Vec<String>,
    /// Leading columns that hold names.
    names: usize,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// `names` leading columns hold text, the others numbers.
    pub fn new(names: usize, heads: &[&str]) -> Sheet {
        Sheet { heads: heads.iter().map(|h| h.to_string()).collect(), names, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len(), "invariant: a row has a cell for each heading");
        self.rows.push(cells);
    }

    /// The whole, ending in a newline.
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Table | Format::Json => self.table(),
            Format::Md => self.markdown(),
            Format::Csv => self.csv(),
        }
    }

    fn table(&self) -> String {
        let heads: Vec<&str> = self.heads.iter().map(String::as_str).collect();
        let mut t = crate::format::table(&heads);
        for r in &self.rows {
            t.add_row(r);
        }
        for c in t.column_iter_mut().skip(self.names) {
            c.set_cell_alignment(CellAlignment::Right);
        }
        crate::format::lines(&t)
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<&str> = (0..self.heads.len()).map(|i| if i < self.names { "---" } else { "--:" }).collect();
        let rows: String = self.rows.iter().map(|r| line(r)).collect();
        format!("{}|{}|\n{rows}", line(&self.heads), rule.join("|"))
    }

    fn csv(&self) -> String {
        let cell = |c: &String| {
            // Thousands are separated for people only.
            let plain = c.replace(',', "");
            match plain.parse::<f64>() {
                Ok(_) => plain,
                Err(_) if c.contains([',', '"', '\n']) => format!("\"{}\"", c.replace('"', "\"\"")),
                Err(_) => c.clone(),
            }
        };
        let line = |cells: &Vec<String>| cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
        [&self.heads].into_iter().chain(&self.rows).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut s = Sheet::new(1, &["kernel", "us"]);
        s.row(vec!["a,b|c".into(), "1,234.5".into()]);
        s
    }

    #[test]
    fn separators_inside_cells_do_no_harm() {
        assert_eq!(sheet().print(Format::Csv), "kernel,us\n\"a,b|c\",1234.5\n");
        assert_eq!(sheet().print(Format::Md), "| kernel | us |\n|---|--:|\n| a,b\\|c | 1,234.5 |\n");
    }

    #[test]
    fn numbers_stand_at_the_right() {
        assert_eq!(sheet().print(Format::Table), "kernel  us\na,b|c   1,234.5\n".replace("us", "     us"));
    }
}
