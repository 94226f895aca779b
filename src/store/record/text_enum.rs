//! Closed sets that are stored and sent as words.

/// Declares an enum whose variants have one word each, for columns and for JSON alike.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        crate::base::words! {
            $(#[$meta])*
            $name { $($(#[$variant_meta])* $variant = $word),+ }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    serde::de::Error::custom(format_args!("expected one of `{}`", known.join("`, `")))
                })
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let words = Self::ALL.iter().map(|known| serde_json::Value::from(known.as_str()));
                let text = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String);
                utoipa::openapi::RefOr::T(text.enum_values(Some(words)).build().into())
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

pub(super) use text_enum;
