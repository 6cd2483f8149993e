//! An image as JSON.

use serde_json::{Value as Json, json};
use vfioboot::image::avb::{Avb1Signature, AvbFooter};
use vfioboot::image::{Header, Value, Wrapper, text_of};

use super::report::{Report, Section};

impl Report<'_> {
    pub fn to_json(&self) -> Json {
        let image = self.image;
        let header = image.header().map(|header| header_json(header, image.id_is_right()));
        let wrappers: Vec<Json> =
            self.wrappers().iter().map(|(around, wrapper)| wrapper_json(around, wrapper)).collect();
        let regions: Vec<Json> = image
            .file_regions()
            .iter()
            .map(|r| json!({ "kind": r.kind.as_str(), "offset": r.offset, "size": r.size }))
            .collect();
        let certificates: Vec<Json> = image
            .gki_certificates()
            .iter()
            .map(|certificate| {
                let vbmeta = crate::cli::avb::json(&certificate.vbmeta);
                json!({ "offset": certificate.offset, "vbmeta": vbmeta })
            })
            .collect();
        let problems: Vec<Json> = image
            .problems()
            .iter()
            .map(|p| json!({ "field": p.field, "offset": p.offset, "message": p.message }))
            .collect();
        json!({
            "file": self.name,
            "container": self.forms.iter().map(|form| form.id()).collect::<Vec<_>>(),
            "kind": image.kind(),
            "size": image.file().len(),
            "wrappers": wrappers,
            "header": header,
            "sections": self.sections.iter().map(Section::to_json).collect::<Vec<_>>(),
            "avb_footer": image.avb().map(footer_json),
            "vbmeta": image.vbmeta().and_then(Result::ok).as_ref().map(crate::cli::avb::json),
            "avb1_signature": image.avb1_signature().map(avb1_json),
            "gki_certificates": certificates,
            "patched_by": self.patched.as_ref().and_then(|own| own.tool.as_ref()),
            "patched_state": self.patched.as_ref().map(|own| own.state.name()),
            "problems": problems,
            "regions": regions,
        })
    }
}

impl Section {
    fn to_json(&self) -> Json {
        json!({
            "name": self.name.trim_start(),
            "offset": self.region.offset,
            "size": self.region.size,
            "compression": self.compression,
            "sha256": self.sha256.as_ref().ok(),
            "detail": self.detail.as_ref().map(|detail| &detail.json),
        })
    }
}

fn header_json(header: &Header, id_is_right: Option<bool>) -> Json {
    let fields: serde_json::Map<String, Json> = header
        .fields()
        .into_iter()
        .map(|field| (field.name.to_owned(), field_json(field.value)))
        .collect();
    json!({
        "version": header.version(),
        "form": header.form(),
        "page_size": header.page_size(),
        "fields": fields,
        "cmdline": String::from_utf8_lossy(&header.cmdline()),
        "os_version": header.os_version().and_then(|version| version.version()),
        "os_patch_level": header.os_version().and_then(|version| version.patch_level()),
        "id_is_right": id_is_right,
    })
}

fn footer_json(footer: &AvbFooter) -> Json {
    json!({
        "original_image_size": footer.original_image_size,
        "vbmeta_offset": footer.vbmeta_offset,
        "vbmeta_size": footer.vbmeta_size,
    })
}

fn avb1_json(signature: Avb1Signature) -> Json {
    json!({
        "offset": signature.offset,
        "size": signature.size,
        "target": signature.target,
        "length": signature.length,
    })
}

fn wrapper_json(around: &str, wrapper: &Wrapper<'_>) -> Json {
    let fields: Vec<Json> = wrapper
        .fields()
        .iter()
        .map(|f| json!({ "name": f.name, "offset": f.offset, "right": f.right }))
        .collect();
    json!({
        "name": wrapper.name(),
        "around": around,
        "label": wrapper.label(),
        "size": wrapper.whole().len(),
        "payload": { "offset": wrapper.payload_range().start, "size": wrapper.payload().len() },
        "fields": fields,
        "refusal": wrapper.refusal(),
    })
}

fn field_json(value: Value<'_>) -> Json {
    match value {
        Value::U32(number) => json!(number),
        Value::U64(number) => json!(number),
        Value::Text(text) => json!(String::from_utf8_lossy(text_of(text))),
        Value::Bytes(bytes) => json!(base16ct::lower::encode_string(bytes)),
    }
}
