//! Bytes as lower-case hexadecimal digits, for serde.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(
    bytes: impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&base16ct::lower::encode_string(bytes.as_ref()))
}

pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<Vec<u8>>,
{
    let text = String::deserialize(deserializer)?;
    let bytes = base16ct::mixed::decode_vec(&text).map_err(D::Error::custom)?;
    T::try_from(bytes).map_err(|_| D::Error::custom("another number of bytes than expected"))
}
