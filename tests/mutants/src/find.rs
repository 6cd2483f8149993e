//! What can be changed in a file, and its text with all of that inside.
//!
//! A changed piece of text is between comments that name its number, `/*17<*/ … /*>*/`; what is around it
//! and belongs to several, between comments with all their numbers. By these the compiler's errors are
//! traced to the mutants that do not compile.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, ExprStruct, Member, Pat, Signature, UnOp};

use crate::text::{Edit, edited, place, pretty};
use crate::values;

/// Whether a mutant can be switched on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Made,
    /// The compiler evaluates it: a constant, a `const fn`.
    Constant,
    /// It cannot be beside the original: `||` in a chain with `let`, an iterator of another type, a match
    /// without an arm that may be the last.
    Unfit,
}

pub struct Mutant {
    pub number: usize,
    pub state: State,
    pub line: usize,
    /// What it changes, and where, without the line.
    pub name: String,
}

pub struct Found {
    pub mutants: Vec<Mutant>,
    pub code: String,
}

/// The mutants of a file, with numbers from `first`; those in `dropped` are not in the text.
pub fn mutants(code: &str, first: usize, dropped: &HashSet<&str>) -> syn::Result<Found> {
    let file = syn::parse_file(code)?;
    let mut finder = Finder {
        code,
        first,
        dropped,
        mutants: Vec::new(),
        edits: Vec::new(),
        names: Vec::new(),
        functions: Vec::new(),
        same: HashMap::new(),
        constant: false,
    };
    finder.visit_file(&file);
    let code = edited(code, 0..code.len(), &finder.edits);
    Ok(Found { mutants: finder.mutants, code })
}

struct Finder<'a> {
    code: &'a str,
    first: usize,
    dropped: &'a HashSet<&'a str>,
    mutants: Vec<Mutant>,
    /// Edits of the innermost node that is being changed itself.
    edits: Vec<Edit>,
    /// The modules, types and functions around.
    names: Vec<String>,
    functions: Vec<String>,
    /// How many mutants have the same name.
    same: HashMap<String, usize>,
    constant: bool,
}

/// The expression that is true when the mutant is on.
fn is(number: usize) -> String {
    format!("crate::mutant::is({number})")
}

/// Text that belongs to the mutants with these numbers.
fn marked(numbers: &[usize], text: &str) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("/*{}<*/{text}/*>*/", numbers.join(","))
}

/// `if` for each alternative, `else` the original.
fn choice(alternatives: &[(usize, String)], original: &str) -> String {
    let branches: String = alternatives
        .iter()
        .map(|(number, text)| {
            format!("if {} {{ {} }} else ", is(*number), marked(&[*number], text))
        })
        .collect();
    format!("{branches}{{ {original} }}")
}

/// Text that may be there again for each alternative; longer one is evaluated before the choice.
fn is_short(text: &str) -> bool {
    text.len() <= 60 && !text.contains(['\n', '|', '{'])
}

/// What cargo-mutants puts in the place of an operator.
fn others(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">"],
        BinOp::Ge(_) => &["<"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::Sub(_) | BinOp::Mul(_) => &["+", "/"],
        BinOp::SubAssign(_) | BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::Div(_) => &["%", "*"],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::Shl(_) => &[">>"],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::Shr(_) => &["<<"],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitOrAssign(_) => &["&="],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}

fn is_comparison(operator: &BinOp) -> bool {
    use BinOp::{Eq, Ge, Gt, Le, Lt, Ne};
    matches!(operator, Eq(_) | Ne(_) | Lt(_) | Gt(_) | Le(_) | Ge(_))
}

/// Whether it is a chain with `let`, which is not a value.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            has_let(&binary.left) || has_let(&binary.right)
        }
        _ => false,
    }
}

/// Tests, and what is compiled for them only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let mut test = path.segments.last().is_some_and(|last| last.ident == "test");
        if path.is_ident("cfg") {
            // what cannot be parsed is a condition of another kind
            _ = attribute.parse_nested_meta(|condition| {
                test |= condition.path.is_ident("test");
                Ok(())
            });
        }
        test
    })
}

impl Finder<'_> {
    /// Counts a mutant; its number, if it is to be made.
    fn mutant(&mut self, state: State, line: usize, change: &str) -> Option<usize> {
        let number = self.first + self.mutants.len();
        let state = if self.constant { State::Constant } else { state };
        let mut name = change.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(function) = self.functions.last() {
            name = format!("{name} in {function}");
        }
        self.push(number, state, line, name)
    }

    fn push(&mut self, number: usize, state: State, line: usize, name: String) -> Option<usize> {
        let times = self.same.entry(name.clone()).or_insert(0);
        *times += 1;
        let name = if *times > 1 { format!("{name} #{times}") } else { name };
        let made = state == State::Made && !self.dropped.contains(&name[..]);
        self.mutants.push(Mutant { number, state, line, name });
        made.then_some(number)
    }

    /// The edits that a visit makes, apart from those around.
    fn within(&mut self, visit: impl FnOnce(&mut Self)) -> Vec<Edit> {
        let around = mem::take(&mut self.edits);
        visit(self);
        mem::replace(&mut self.edits, around)
    }

    fn as_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        let before = mem::replace(&mut self.constant, true);
        visit(self);
        self.constant = before;
    }

    fn named(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.names.push(name);
        visit(self);
        self.names.pop();
    }

    fn source(&self, place: Range<usize>) -> &str {
        &self.code[place]
    }

    /// A function that returns something else at once, and what is changed inside.
    fn function(&mut self, signature: &Signature, block: &Block, attributes: &[Attribute]) {
        if signature.unsafety.is_some() || is_for_tests(attributes) || block.stmts.is_empty() {
            return;
        }
        self.names.push(signature.ident.to_string());
        self.functions.push(self.names.join("::"));
        let before = mem::replace(&mut self.constant, signature.constness.is_some());
        self.body(signature, block);
        self.constant = before;
        self.functions.pop();
        self.names.pop();
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        let name = self.names.join("::");
        let output = pretty(&signature.output);
        let what = if output.is_empty() { name } else { format!("{name} {output}") };
        let statements: String = block.stmts.iter().map(pretty).collect();
        let inside = block.brace_token.span.open().byte_range().end
            ..block.brace_token.span.close().byte_range().start;
        let has_return = self.source(inside.clone()).contains("return");
        let line = block.stmts[0].span().start().line;
        let (mut first, mut empty) = (String::new(), None);
        for value in values::of_return(&signature.output) {
            let iterator = value.starts_with("::std::iter");
            let state = match iterator && (has_return || !value.ends_with("empty()")) {
                true => State::Unfit,
                false => State::Made,
            };
            if statements == value {
                continue;
            }
            let number = self.function_value(state, line, &what, &value);
            match number {
                Some(number) if iterator => empty = Some(number),
                Some(number) => {
                    let value = marked(&[number], &format!("return {value};"));
                    first += &format!(" if {} {{ {value} }}", is(number));
                }
                None => {}
            }
        }
        let edits = self.within(|finder| finder.visit_block(block));
        let mut text = first + &edited(self.code, inside.clone(), &edits);
        if let Some(number) = empty {
            // of the same type
            let empty = format!("Iterator::filter({{ {text} }}, |_| !{})", is(number));
            text = marked(&[number], &empty);
        }
        self.edits.push(Edit { place: inside, text });
    }

    /// These are named by the function alone.
    fn function_value(
        &mut self,
        state: State,
        line: usize,
        what: &str,
        value: &str,
    ) -> Option<usize> {
        let number = self.first + self.mutants.len();
        let state = if self.constant { State::Constant } else { state };
        self.push(number, state, line, format!("replace {what} with {value}"))
    }

    /// An operation with other operators beside its own.
    fn operation(
        &self,
        binary: &syn::ExprBinary,
        others: &[(usize, &str)],
        edits: &[Edit],
    ) -> String {
        let (left_place, right_place) = (place(&binary.left), place(&binary.right));
        let left = edited(self.code, left_place.clone(), edits);
        let right = edited(self.code, right_place.clone(), edits);
        let (raw_left, raw_right) = (self.source(left_place), self.source(right_place));
        let own = self.source(place(&binary.op));
        if let ([(number, _)], BinOp::And(_) | BinOp::Or(_)) = (others, binary.op) {
            let on = is(*number);
            return match binary.op {
                BinOp::And(_) => format!("if ({left}) != {on} {{ {right} }} else {{ {on} }}"),
                _ => format!("if ({left}) == {on} {{ {right} }} else {{ !{on} }}"),
            };
        }
        let with = |left: &str, right: &str| -> Vec<(usize, String)> {
            let one =
                |(number, other): &(usize, &str)| (*number, format!("{left} {other} {right}"));
            others.iter().map(one).collect()
        };
        let short = is_short(raw_left) && is_short(raw_right);
        if own.len() >= 2 && own.ends_with('=') && !is_comparison(&binary.op) {
            // an assignment
            return if short {
                let others = with(&format!("({raw_left})"), &format!("({raw_right})"));
                choice(&others, &format!("({left}) {own} ({right})"))
            } else {
                let others = with(&format!("({raw_left})"), "right");
                let chosen = choice(&others, &format!("({left}) {own} right"));
                format!("match {right} {{ right => {chosen} }}")
            };
        }
        if short {
            let others = with(&format!("({raw_left})"), &format!("({raw_right})"));
            choice(&others, &format!("({left}) {own} ({right})"))
        } else {
            let by = if is_comparison(&binary.op) { "&" } else { "" };
            let chosen = choice(&with("left", "right"), &format!("left {own} right"));
            format!("match ({by}({left}), {by}({right})) {{ (left, right) => {chosen} }}")
        }
    }

    /// The condition of an arm: true, false, or as it is.
    fn guard(&mut self, guard: &Expr) {
        let where_ = place(guard);
        let line = guard.span().start().line;
        let original = self.source(where_.clone()).to_owned();
        let change = |value| format!("replace match guard {original} with {value}");
        let state = if has_let(guard) { State::Unfit } else { State::Made };
        let always = self.mutant(state, line, &change("true"));
        let never = self.mutant(State::Made, line, &change("false"));
        let edits = self.within(|finder| finder.visit_expr(guard));
        let mut text = edited(self.code, where_.clone(), &edits);
        if let Some(number) = always {
            text = format!("({} || ({text}))", is(number));
        }
        if let Some(number) = never {
            text = format!("!{} && {text}", is(number));
        }
        self.edits.push(Edit { place: where_, text });
    }

    /// A field of a struct that is left to the rest, `..Default::default()`.
    fn fields(&mut self, expression: &ExprStruct, rest: &Expr) {
        let path = pretty(&expression.path);
        let base = self.source(place(rest)).to_owned();
        for field in &expression.fields {
            let value = place(&field.expr);
            let number = match &field.member {
                Member::Named(name) => {
                    let change = format!("delete field {name} from struct {path} expression");
                    self.mutant(State::Made, field.span().start().line, &change)
                }
                Member::Unnamed(_) => None,
            };
            let edits = self.within(|finder| finder.visit_expr(&field.expr));
            let Some(number) = number else {
                self.edits.extend(edits);
                continue;
            };
            let name = pretty(&field.member);
            let other = match rest {
                Expr::Call(_) => format!("let base: {path} = {base}; base.{name}"),
                _ => format!("({base}).{name}"),
            };
            let text = edited(self.code, value.clone(), &edits);
            let text = marked(&[number], &choice(&[(number, other)], &text));
            let shorthand = field.colon_token.is_none();
            let text = if shorthand { format!("{name}: {text}") } else { text };
            self.edits.push(Edit { place: value, text });
        }
        self.visit_expr(rest);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let own = self.source(place(&binary.op)).to_owned();
        let line = binary.op.span().start().line;
        let lets = has_let(&binary.left) || has_let(&binary.right);
        let state = match binary.op {
            BinOp::And(_) if lets => State::Unfit,
            _ => State::Made,
        };
        let mut alternatives = Vec::new();
        for other in others(&binary.op) {
            let number = self.mutant(state, line, &format!("replace {own} with {other}"));
            alternatives.extend(number.map(|number| (number, *other)));
        }
        let edits = self.within(|finder| visit::visit_expr_binary(finder, binary));
        if alternatives.is_empty() {
            self.edits.extend(edits);
            return;
        }
        let text = self.operation(binary, &alternatives, &edits);
        let numbers: Vec<usize> = alternatives.iter().map(|(number, _)| *number).collect();
        let text = marked(&numbers, &format!("({text})"));
        let place = place(&binary.left).start..place(&binary.right).end;
        self.edits.push(Edit { place, text });
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let sign = match unary.op {
            UnOp::Not(_) => "!",
            UnOp::Neg(_) => "-",
            _ => return visit::visit_expr_unary(self, unary),
        };
        let line = unary.op.span().start().line;
        let number = self.mutant(State::Made, line, &format!("delete {sign}"));
        let edits = self.within(|finder| finder.visit_expr(&unary.expr));
        let Some(number) = number else {
            self.edits.extend(edits);
            return;
        };
        let operand = edited(self.code, place(&unary.expr), &edits);
        let raw = self.source(place(&unary.expr));
        let text = if is_short(raw) {
            choice(&[(number, raw.to_owned())], &format!("{sign}{operand}"))
        } else {
            let chosen = choice(&[(number, "value".to_owned())], &format!("{sign}value"));
            format!("match {operand} {{ value => {chosen} }}")
        };
        let place = place(&unary.op).start..place(&unary.expr).end;
        self.edits.push(Edit { place, text: marked(&[number], &format!("({text})")) });
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        let wild = |arm: &syn::Arm| matches!(arm.pat, Pat::Wild(_));
        if expression.arms.iter().any(wild) {
            // With a condition the others do not cover all that is possible without it.
            let all = expression.arms.iter().any(|arm| wild(arm) && arm.guard.is_none());
            let state = if all { State::Made } else { State::Unfit };
            let deletable = |arm: &&syn::Arm| !wild(arm) && arm.guard.is_none();
            for arm in expression.arms.iter().filter(deletable) {
                let change = format!("delete match arm {}", pretty(&arm.pat));
                let line = arm.pat.span().start().line;
                if let Some(number) = self.mutant(state, line, &change) {
                    let end = place(&arm.pat).end;
                    let text = marked(&[number], &format!(" if !{}", is(number)));
                    self.edits.push(Edit { place: end..end, text });
                }
            }
        }
        self.visit_expr(&expression.expr);
        for arm in &expression.arms {
            if let Some((_, guard)) = &arm.guard {
                self.guard(guard);
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_expr_struct(&mut self, expression: &'ast ExprStruct) {
        match &expression.rest {
            Some(rest) => self.fields(expression, rest),
            None => visit::visit_expr_struct(self, expression),
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let capacity = match &*call.func {
            Expr::Path(function) => {
                function.path.segments.last().is_some_and(|last| last.ident == "with_capacity")
            }
            _ => false,
        };
        // the memory that is reserved at the start changes no result
        if !capacity {
            visit::visit_expr_call(self, call);
        }
    }

    /// A closure in a constant is called while the program runs.
    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        let before = mem::replace(&mut self.constant, false);
        self.visit_expr(&closure.body);
        self.constant = before;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, &item.attrs);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        // cargo-mutants leaves constructors out
        if item.sig.ident != "new" {
            self.function(&item.sig, &item.block, &item.attrs);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = item.default.as_ref().filter(|_| item.sig.ident != "new") {
            self.function(&item.sig, block, &item.attrs);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let kind = pretty(&item.self_ty);
        let name = match &item.trait_ {
            Some((_, path, _)) if path.is_ident("Default") => return,
            Some((_, path, _)) => format!("<impl {} for {kind}>", pretty(path)),
            None => kind,
        };
        if !is_for_tests(&item.attrs) {
            self.named(name, |finder| visit::visit_item_impl(finder, item));
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.named(item.ident.to_string(), |finder| visit::visit_item_trait(finder, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.named(item.ident.to_string(), |finder| visit::visit_item_mod(finder, item));
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.as_constant(|finder| finder.visit_expr(&item.expr));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.as_constant(|finder| finder.visit_expr(&item.expr));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.as_constant(|finder| finder.visit_expr(&item.expr));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.as_constant(|finder| finder.visit_block(&block.block));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.as_constant(|finder| finder.visit_expr(&repeat.len));
    }

    fn visit_variant(&mut self, _: &'ast syn::Variant) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}
