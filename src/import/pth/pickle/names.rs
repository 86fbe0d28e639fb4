//! The names that pickles may import, and what is made when they are called.

use super::{MAX_RANK, Machine, Name, Object, Storage, Value, View, number};
use crate::import::Element;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Place};

/// Longest key of a storage: keys are numbers, and each storage has its own copy.
const MAX_KEY_BYTES: usize = 256;

impl Machine<'_> {
    /// Applies one of the known names to its arguments.
    pub(super) fn call(&mut self, how: &str) -> Result<(), Diagnostics> {
        let (args, callee) = (self.pop()?, self.pop()?);
        let Some(args) = self.items(args) else { return Err(self.broken("arguments are no tuple")) };
        let name = match self.object(callee) {
            Some(Object::Name(n)) => *n,
            Some(Object::Opaque) => Name::Opaque,
            _ => return Err(self.broken(format!("something is {how} that is no name"))),
        };
        match (name, args) {
            (Name::OrderedDict, []) => self.push_object(Object::Dict(Vec::new())),
            (Name::OrderedDict, &[items]) => {
                // The same list may be given again and again.
                let copied = self.items(items).map_or(0, <[Value]>::len);
                self.count(copied)?;
                let pair = |&item: &Value| {
                    let &[key, value] = self.items(item)? else { return None };
                    Some((key, value))
                };
                let pairs: Option<Vec<(Value, Value)>> = self.items(items).and_then(|i| i.iter().map(pair).collect());
                match pairs {
                    Some(pairs) => self.push_object(Object::Dict(pairs)),
                    None => Err(self.broken("a dict is made of something that is no list of pairs")),
                }
            }
            (Name::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                let view = self.view(storage, offset, shape, strides);
                match view {
                    Some(view) => self.push_object(Object::Tensor(view)),
                    None => {
                        Err(self.broken(format!("a tensor has wrong arguments or more than {MAX_RANK} dimensions")))
                    }
                }
            }
            (Name::RebuildParameter, &[tensor, ..]) => self.push(tensor),
            (Name::Size, &[numbers]) => self.push(numbers),
            (Name::Opaque, _) => self.push_object(Object::Opaque),
            _ => Err(self.broken(format!("a name is {how} with wrong arguments"))),
        }
    }

    fn view(&self, storage: Value, offset: Value, shape: Value, strides: Value) -> Option<View> {
        let (Value::Object(storage), Some(Object::Storage(_))) = (storage, self.object(storage)) else { return None };
        let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
        (shape.len() == strides.len()).then_some(View { storage, offset: number(offset)?, shape, strides })
    }

    /// A storage from `('storage', type, key, location, elements[, None])`.
    pub(super) fn storage(&self, id: Value) -> Result<Storage, Diagnostics> {
        let (tag, ty, key, count, view) = match self.items(id) {
            Some(&[tag, ty, key, _location, count]) => (tag, ty, key, count, Value::None),
            Some(&[tag, ty, key, _location, count, view]) => (tag, ty, key, count, view),
            _ => return Err(self.broken("a reference to data has the wrong form")),
        };
        let element = match self.object(ty) {
            Some(Object::Name(Name::StorageType(e))) => *e,
            _ => return Err(self.broken("a reference to data has no element type")),
        };
        let key = self.str(key).filter(|k| k.len() <= MAX_KEY_BYTES);
        match (self.str(tag), key, number(count), view) {
            (Some("storage"), Some(key), Some(elements), Value::None) => {
                Ok(Storage { key: key.to_string(), element, elements })
            }
            (Some("storage"), Some(_), Some(_), _) => {
                let d = Diagnostic::error("E0320", "the file has storages that are views of others");
                let d = d.class(Class::Unsupported).at(Place::Byte(self.op_at as u64), "");
                Err(d.help("load and save it again with PyTorch 0.4 or later").into())
            }
            _ => Err(self.broken("a reference to data has the wrong form")),
        }
    }

    /// What `module.name` means here. All other names are refused: there is nothing that could be imported.
    pub(super) fn import(&self, module: &str, name: &str) -> Result<Name, Diagnostics> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Name::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
            ("torch", "Size") => Name::Size,
            ("torch", "FloatStorage") => Name::StorageType(Element::F32),
            ("torch", "DoubleStorage") => Name::StorageType(Element::F64),
            ("torch", "HalfStorage") => Name::StorageType(Element::F16),
            ("torch", "BFloat16Storage") => Name::StorageType(Element::BF16),
            ("torch", "LongStorage") => Name::StorageType(Element::I64),
            ("torch", "IntStorage") => Name::StorageType(Element::I32),
            ("torch", "ShortStorage") => Name::StorageType(Element::I16),
            ("torch", "CharStorage") => Name::StorageType(Element::I8),
            ("torch", "ByteStorage") => Name::StorageType(Element::U8),
            ("torch", "BoolStorage") => Name::StorageType(Element::Bool),
            ("torch.storage", "UntypedStorage" | "TypedStorage") => Name::StorageType(Element::U8),
            ("torch", "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32" | "int16" | "int8") => {
                Name::Opaque
            }
            ("torch", "uint8" | "bool" | "device") => Name::Opaque,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Name::Opaque,
            ("numpy", "dtype") | ("_codecs", "encode") => Name::Opaque,
            _ => return Err(self.refuse_name(module, name)),
        })
    }

    fn refuse_name(&self, module: &str, name: &str) -> Diagnostics {
        const CODE: [&str; 16] = [
            "os",
            "posix",
            "nt",
            "subprocess",
            "builtins",
            "__builtin__",
            "sys",
            "shutil",
            "socket",
            "importlib",
            "runpy",
            "ctypes",
            "pty",
            "webbrowser",
            "code",
            "pickle",
        ];
        const MODELS: [&str; 4] = ["torch.nn", "torchvision.models", "timm", "__main__"];
        let within = |m: &str| module == m || module.strip_prefix(m).is_some_and(|rest| rest.starts_with('.'));
        let place = Place::Byte(self.op_at as u64);
        if CODE.iter().any(|m| within(m)) {
            let d = Diagnostic::error("E0316", format!("the file would run '{module}.{name}' when unpickled"));
            return d
                .at(place, "imported here; nothing was run")
                .help("do not load this file with pickle or torch.load; get the weights from another source")
                .into();
        }
        let class = name.rsplit('.').next().is_some_and(|n| n.starts_with(char::is_uppercase));
        if MODELS.iter().any(|m| within(m)) || class {
            let d = Diagnostic::error("E0317", format!("this is a whole pickled model ('{module}.{name}')"));
            return d
                .class(Class::Unsupported)
                .at(place, "a class is imported here")
                .help("save the weights alone: torch.save(model.state_dict(), FILE)")
                .into();
        }
        let d = Diagnostic::error("E0316", format!("the file imports '{module}.{name}', which is no plain data"));
        d.at(place, "imported here; nothing was run").help("save `model.state_dict()` alone").into()
    }
}
