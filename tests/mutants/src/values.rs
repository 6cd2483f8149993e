//! What a function may return instead, by its type.

use syn::{GenericArgument, Path, PathArguments, ReturnType, Type, TypeParamBound};

use crate::text::pretty;

/// Values that a function with this return type may give back without doing anything.
pub fn of_return(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".to_owned()],
        ReturnType::Type(_, kind) => of(kind),
    }
}

fn of(kind: &Type) -> Vec<String> {
    match kind {
        Type::Path(path) => of_path(&path.path),
        Type::Array(array) => {
            let length = pretty(&array.len);
            of(&array.elem).iter().map(|value| format!("[{value}; {length}]")).collect()
        }
        Type::Slice(slice) => leaked(&slice.elem),
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") && reference.mutability.is_none() => {
                of_path(&path.path)
            }
            Type::Slice(slice) => leaked(&slice.elem),
            other => each(other, "Box::leak(Box::new(", "))"),
        },
        Type::Tuple(tuple) => tuple
            .elems
            .iter()
            .map(of)
            .fold(vec![String::new()], |heads, values| {
                let with = |head: &String, value: &String| match &head[..] {
                    "" => value.clone(),
                    _ => format!("{head}, {value}"),
                };
                heads
                    .iter()
                    .flat_map(|head| values.iter().map(move |value| with(head, value)))
                    .collect()
            })
            .iter()
            .map(|values| format!("({values})"))
            .collect(),
        Type::ImplTrait(bounds) => match bounds.bounds.iter().find_map(item_of_iterator) {
            Some(item) => with_first("::std::iter::empty()", each(item, "::std::iter::once(", ")")),
            None => Vec::new(),
        },
        Type::Never(_) => Vec::new(),
        _ => vec!["Default::default()".to_owned()],
    }
}

fn of_path(path: &Path) -> Vec<String> {
    let Some(last) = path.segments.last() else { return Vec::new() };
    let alone = path.get_ident().map(ToString::to_string);
    let simple: &[&str] = match alone.as_deref() {
        Some("bool") => &["true", "false"],
        Some("String") => &["String::new()", "\"xyzzy\".into()"],
        Some("str") => &["\"\"", "\"xyzzy\""],
        Some("u8" | "u16" | "u32" | "u64" | "u128" | "usize") => &["0", "1"],
        Some("i8" | "i16" | "i32" | "i64" | "i128" | "isize") => &["0", "1", "-1"],
        Some("f32" | "f64") => &["0.0", "1.0", "-1.0"],
        _ => &[],
    };
    if !simple.is_empty() {
        return simple.iter().map(|value| (*value).to_owned()).collect();
    }
    let name = last.ident.to_string();
    let arguments = type_arguments(&last.arguments);
    match (&name[..], &arguments[..]) {
        ("NonZero", _) => vec!["1.try_into().unwrap()".to_owned()],
        (_, []) if name.starts_with("NonZero") => vec!["1.try_into().unwrap()".to_owned()],
        ("Result", []) => vec!["Ok(Default::default())".to_owned()],
        ("Result", [inner, ..]) => each(inner, "Ok(", ")"),
        ("Option", [inner]) => with_first("None", each(inner, "Some(", ")")),
        ("Vec", [inner]) => with_first("vec![]", each(inner, "vec![", "]")),
        ("Cow", [inner]) => of(inner)
            .iter()
            .flat_map(|value| {
                [format!("Cow::Borrowed({value})"), format!("Cow::Owned({value}.to_owned())")]
            })
            .collect(),
        ("Box" | "Cell" | "RefCell" | "Arc" | "Rc" | "Mutex", [inner]) => {
            each(inner, &format!("{name}::new("), ")")
        }
        ("BinaryHeap" | "BTreeSet" | "HashSet" | "LinkedList" | "VecDeque", [inner]) => {
            let filled = each(inner, &format!("{name}::from_iter(["), "])");
            with_first(&format!("{name}::new()"), filled)
        }
        ("BTreeMap" | "HashMap", [key, value]) => {
            let values = of(value);
            let filled = of(key)
                .iter()
                .flat_map(|key| values.iter().map(move |value| (key.clone(), value.clone())))
                .map(|(key, value)| format!("{name}::from_iter([({key}, {value})])"))
                .collect();
            with_first(&format!("{name}::new()"), filled)
        }
        (_, [inner]) => {
            let filled = of(inner)
                .iter()
                .flat_map(|value| {
                    [
                        format!("{name}::from_iter([{value}])"),
                        format!("{name}::new({value})"),
                        format!("{name}::from({value})"),
                    ]
                })
                .collect();
            with_first(&format!("{name}::new()"), filled)
        }
        _ => vec!["Default::default()".to_owned()],
    }
}

fn with_first(first: &str, others: Vec<String>) -> Vec<String> {
    [first.to_owned()].into_iter().chain(others).collect()
}

/// Each value of a type between two texts.
fn each(inner: &Type, before: &str, after: &str) -> Vec<String> {
    of(inner).iter().map(|value| format!("{before}{value}{after}")).collect()
}

fn leaked(element: &Type) -> Vec<String> {
    with_first("Vec::leak(Vec::new())", each(element, "Vec::leak(vec![", "])"))
}

fn type_arguments(arguments: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return Vec::new() };
    let mut kinds = Vec::new();
    for argument in &arguments.args {
        if let GenericArgument::Type(kind) = argument {
            kinds.push(kind);
        }
    }
    kinds
}

/// The `T` of `Iterator<Item = T>`.
fn item_of_iterator(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let last = bound.path.segments.last().filter(|last| last.ident == "Iterator")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}
