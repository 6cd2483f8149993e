//! The text of a file with pieces of it replaced.

use std::ops::Range;

use proc_macro2::{Delimiter, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;

/// A piece of the file, and what takes its place.
pub struct Edit {
    pub place: Range<usize>,
    pub text: String,
}

/// The text of `place` with the `edits` that are in it, which do not overlap.
pub fn edited(code: &str, place: Range<usize>, edits: &[Edit]) -> String {
    let mut inside: Vec<&Edit> = edits
        .iter()
        .filter(|edit| place.start <= edit.place.start && edit.place.end <= place.end)
        .collect();
    inside.sort_by_key(|edit| (edit.place.start, edit.place.end));
    let mut text = String::new();
    let mut at = place.start;
    for edit in inside {
        text += &code[at..edit.place.start];
        text += &edit.text;
        at = edit.place.end;
    }
    text + &code[at..place.end]
}

/// Where a node of the syntax is, in bytes.
pub fn place(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

/// Tokens as people write them, with the spaces that cargo-mutants leaves in its names.
pub fn pretty(tokens: &impl ToTokens) -> String {
    let mut text = String::new();
    let mut tokens = tokens.to_token_stream().into_iter().peekable();
    while let Some(token) = tokens.next() {
        let next = tokens.peek();
        match token {
            TokenTree::Punct(punct) => {
                let sign = punct.as_char();
                if sign == '|' && !text.is_empty() && !text.ends_with([' ', '|']) {
                    text.push(' ');
                }
                text.push(sign);
                if next.is_some() && (text.ends_with("->") || matches!(sign, ',' | ';')) {
                    text.push(' ');
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                text += open;
                text += &pretty(&group.stream());
                text += close;
            }
            word @ (TokenTree::Ident(_) | TokenTree::Literal(_)) => {
                if text.ends_with("=>") || text.ends_with(['=', '|']) {
                    text.push(' ');
                }
                text += &word.to_string();
                let space = match next {
                    Some(TokenTree::Ident(_) | TokenTree::Literal(_)) => true,
                    Some(TokenTree::Punct(punct)) => {
                        !matches!(punct.as_char(), ',' | ';' | '<' | '>' | ':' | '.' | '!')
                    }
                    Some(TokenTree::Group(_)) | None => false,
                };
                if space {
                    text.push(' ');
                }
            }
        }
    }
    text
}
