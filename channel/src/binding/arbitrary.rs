//! Events for property tests.

use proptest::prelude::*;

use crate::{Data, Draft, Event, Form, Kind, SpecVersion};

fn attribute() -> impl Strategy<Value = (String, Kind)> {
    prop_oneof![
        "[^\\p{C}]{0,40}".prop_map(|text| (text, Kind::String)),
        any::<i32>().prop_map(|number| (number.to_string(), Kind::Integer)),
        any::<bool>().prop_map(|truth| (truth.to_string(), Kind::Boolean)),
    ]
}

/// Valid events of both versions with data of every form.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let extensions = proptest::collection::btree_map("x[a-z0-9]{0,12}", attribute(), 0..8);
    let data = prop_oneof![
        Just((None, None)),
        ("[^\\p{C}]{0,80}", Just(Some("application/json"))).prop_map(|(text, media_type)| {
            let json = serde_json::to_string(&text).unwrap();
            (media_type, Some(Data { bytes: json.into(), form: Form::Json }))
        }),
        (".{0,80}", prop_oneof![Just(Some("text/plain")), Just(Some("application/xml"))]).prop_map(
            |(text, media_type)| {
                (media_type, Some(Data { bytes: text.into(), form: Form::Text }))
            }
        ),
        (
            proptest::collection::vec(any::<u8>(), 0..80),
            prop_oneof![
                Just(None),
                Just(Some("application/json")),
                Just(Some("text/plain")),
                Just(Some("image/png")),
            ],
            prop_oneof![Just(Form::Base64), Just(Form::Opaque)],
        )
            .prop_map(|(bytes, media_type, form)| {
                (media_type, Some(Data { bytes: bytes.into(), form }))
            }),
    ];
    let version = prop_oneof![Just(SpecVersion::V10), Just(SpecVersion::V03)];
    (version, "[^\\p{C}]{1,30}", "[a-z/:.]{0,3}[a-z0-9/._~-]{1,30}", extensions, data)
        .prop_filter_map(
            "a source that is not a URI-reference",
            |(version, id, source, extensions, (media_type, data))| {
                let mut draft = Draft::new(version);
                draft.push_text("source", &source, Kind::String).ok()?;
                draft.push_text("id", &id, Kind::String).ok()?;
                draft.push_text("type", "t", Kind::String).ok()?;
                if let Some(media_type) = media_type {
                    draft.push_text("datacontenttype", media_type, Kind::String).ok()?;
                }
                for (name, (text, kind)) in &extensions {
                    draft.push_text(name, text, *kind).ok()?;
                }
                draft.set_data(data);
                draft.finish().ok()
            },
        )
}
