//! Schemas of texts that are one of a few words.

/// The schema of a text that is one of these words.
pub(super) fn words(words: &[&str]) -> utoipa::openapi::schema::Object {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(words.iter().map(|word| serde_json::Value::from(*word))))
        .build()
}
