//! Parsed TOML into a type. The deserializer of the toml crate makes a copy of all it does, for every kind of value,
//! of each type that is read; this one makes what the type asks for.

use core::fmt::{self, Display};
use core::ops::Range;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Problem {
    pub message: String,
    pub span: Option<Range<usize>>,
}

impl Problem {
    /// At a place, unless it is about a place inside already.
    fn at(self, span: Range<usize>) -> Self {
        Self { span: self.span.or(Some(span)), ..self }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self { message: message.to_string(), span: None }
    }
}

/// A value.
#[derive(Clone, Copy)]
pub(super) enum Node<'de> {
    Value(&'de DeValue<'de>),
    Table(&'de DeTable<'de>),
}

/// An integer as far as it has 64 bits.
fn number(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl<'de> Node<'de> {
    fn table(self) -> Option<&'de DeTable<'de>> {
        match self {
            Self::Table(table) | Self::Value(DeValue::Table(table)) => Some(table),
            Self::Value(_) => None,
        }
    }

    /// That it is not what was expected.
    fn unexpected(self, expected: &dyn de::Expected) -> Problem {
        let Self::Value(value) = self else {
            return de::Error::invalid_type(Unexpected::Map, expected);
        };
        let found = match value {
            DeValue::String(text) => Unexpected::Str(text),
            DeValue::Integer(integer) => match number(integer) {
                Some(number) => Unexpected::Signed(number),
                None => Unexpected::Other("an integer of more than 64 bits"),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(number) => Unexpected::Float(number),
                Err(_) => Unexpected::Other("a floating point number"),
            },
            DeValue::Boolean(flag) => Unexpected::Bool(*flag),
            DeValue::Datetime(_) => Unexpected::Other("a date or a time"),
            DeValue::Array(_) => Unexpected::Seq,
            DeValue::Table(_) => Unexpected::Map,
        };
        de::Error::invalid_type(found, expected)
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Problem;

    /// For values that have several forms.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self {
            Self::Value(DeValue::String(text)) => visitor.visit_str(text),
            Self::Value(DeValue::Array(_)) => self.deserialize_seq(visitor),
            Self::Value(DeValue::Table(_)) | Self::Table(_) => self.deserialize_map(visitor),
            Self::Value(_) => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self {
            Self::Value(DeValue::Boolean(flag)) => visitor.visit_bool(*flag),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self {
            Self::Value(DeValue::Integer(integer)) => match number(integer) {
                Some(number) => visitor.visit_i64(number),
                None => Err(self.unexpected(&visitor)),
            },
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self {
            Self::Value(DeValue::String(text)) => visitor.visit_str(text),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self {
            Self::Value(DeValue::Array(items)) => visitor.visit_seq(Items(items.iter())),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.table() {
            Some(table) => visitor.visit_map(Entries { entries: table.iter(), value: None }),
            None => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    /// What is there is given: nothing is written for what is not.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    /// A choice is its name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self {
            Self::Value(DeValue::String(text)) => {
                let name: StrDeserializer<'_, Problem> = text.as_ref().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => Err(self.unexpected(&visitor)),
        }
    }

    /// What is not read may be anything.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier
    }
}

/// The values of an array.
struct Items<'de>(core::slice::Iter<'de, Spanned<DeValue<'de>>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(value) = self.0.next() else { return Ok(None) };
        let read = seed.deserialize(Node::Value(value.get_ref()));
        read.map(Some).map_err(|problem| problem.at(value.span()))
    }
}

/// The keys of a table, and their values.
struct Entries<'de, I> {
    entries: I,
    value: Option<&'de Spanned<DeValue<'de>>>,
}

impl<'de, I> MapAccess<'de> for Entries<'de, I>
where
    I: Iterator<Item = (&'de Spanned<DeString<'de>>, &'de Spanned<DeValue<'de>>)>,
{
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, Problem> = key.get_ref().as_ref().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|problem| problem.at(key.span()))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Problem> {
        let Some(value) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let read = seed.deserialize(Node::Value(value.get_ref()));
        read.map_err(|problem| problem.at(value.span()))
    }
}
