//! `weights`, `preprocess` and `labels`: what belongs to a model besides its graph.

use super::{Parse, Parser};
use crate::graph::{ModelInfo, Preprocess, WeightsRef};

impl Parser<'_> {
    /// `weights "FILE" sha256:HEX`
    pub(super) fn weights(&mut self, info: &mut ModelInfo) -> Parse<()> {
        let (file, _) = self.string("the name of the weights file")?;
        let mut sha256 = None;
        if self.eat("sha256") {
            self.expect(":")?;
            let (hex, span) = self.word("64 hexadecimal digits")?;
            if hex.len() != 64 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(self.report("E0005", "a SHA-256 has 64 hexadecimal digits", span));
            }
            sha256 = Some(hex.to_ascii_lowercase());
        }
        info.weights = Some(WeightsRef { file, sha256 });
        self.end_of_statement()
    }

    /// `labels ["tench", "goldfish", …]`
    pub(super) fn labels(&mut self, info: &mut ModelInfo) -> Parse<()> {
        self.expect("[")?;
        info.labels.clear();
        while !self.eat("]") {
            if !info.labels.is_empty() {
                self.expect(",")?;
                if self.eat("]") {
                    break;
                }
            }
            info.labels.push(self.string("a class name")?.0);
        }
        self.end_of_statement()
    }

    /// `preprocess resize=256 crop=224x224 order=rgb scale=255 mean=0.5,0.5,0.5 std=1,1,1`
    pub(super) fn preprocess(&mut self, info: &mut ModelInfo) -> Parse<()> {
        let mut p = Preprocess {
            resize: None,
            crop: [0, 0],
            bgr: false,
            scale: 255.0,
            mean: vec![0.0; 3],
            std: vec![1.0; 3],
            mean_tensor: None,
        };
        while !self.peek().first && self.peek().kind != super::Kind::End {
            let (key, span) = self.word("a setting such as crop=224x224")?;
            self.expect("=")?;
            match key {
                "resize" => p.resize = Some(self.size()?),
                "crop" => {
                    let (text, span) = self.word("a size such as 224x224")?;
                    let sides = text.split_once('x').and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]));
                    p.crop = match sides {
                        Some([h, w]) if (1..=65_536).contains(&h) && (1..=65_536).contains(&w) => [h, w],
                        _ => return Err(self.report("E0005", format!("'{text}' is not a size such as 224x224"), span)),
                    };
                }
                "order" => {
                    let (order, span) = self.word("rgb or bgr")?;
                    p.bgr = match order {
                        "rgb" => false,
                        "bgr" => true,
                        _ => return Err(self.report("E0005", format!("the order is rgb or bgr, not '{order}'"), span)),
                    };
                }
                "scale" => p.scale = self.floats()?[0],
                "mean" => p.mean = self.floats()?,
                "std" => p.std = self.floats()?,
                "mean_tensor" => p.mean_tensor = Some(self.string("the name of a tensor")?.0),
                _ => return Err(self.report("E0007", format!("preprocess has no setting '{key}'"), span)),
            }
        }
        info.preprocess = Some(p);
        Ok(())
    }

    fn size(&mut self) -> Parse<u32> {
        let span = self.span();
        let n: u32 = self.integer("a number of pixels")?;
        if (1..=65_536).contains(&n) { Ok(n) } else { Err(self.report("E0005", "a size is 1 to 65536 pixels", span)) }
    }

    /// One or more finite numbers with commas between.
    fn floats(&mut self) -> Parse<Vec<f32>> {
        let mut out = Vec::new();
        loop {
            let (text, span) = self.word("a number")?;
            match text.parse::<f32>() {
                Ok(x) if x.is_finite() => out.push(x),
                _ => return Err(self.report("E0005", format!("'{text}' is not a number"), span)),
            }
            if !self.eat(",") {
                return Ok(out);
            }
        }
    }
}
