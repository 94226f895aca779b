//! The closed list of problem codes, each with its status.

/// Declares the codes and their statuses at one place.
macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $status:literal $text:literal),+ $(,)?) => {
        /// The kind of a problem: a closed set that programs may rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$meta])* $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The status that goes with the code.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// The code as it stands in answers.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

codes! {
    /// A header, the path or the body's encoding is not readable.
    BadRequest = 400 "bad_request",
    /// The body is not JSON, has a key twice, or something behind its end.
    MalformedJson = 400 "malformed_json",
    /// No, unknown or expired credentials.
    NotAuthenticated = 401 "not_authenticated",
    /// The role is too low, in the caller's own tenant; or files of the administrator own the object.
    NotPermitted = 403 "not_permitted",
    /// A count has reached its limit.
    LimitReached = 403 "limit_reached",
    /// The approver is the author.
    SecondPersonRequired = 403 "second_person_required",
    /// A browser came from another page.
    OriginRefused = 403 "origin_refused",
    /// Absent, deleted, or of another tenant.
    NotFound = 404 "not_found",
    /// The path does not take this method.
    MethodNotAllowed = 405 "method_not_allowed",
    /// None of the types in `Accept` can be sent.
    NotAcceptable = 406 "not_acceptable",
    /// The state of the object does not allow the action.
    IllegalTransition = 409 "illegal_transition",
    /// `expected_generation` is not the current one.
    GenerationConflict = 409 "generation_conflict",
    /// Another serve of the project is running.
    ServeInProgress = 409 "serve_in_progress",
    /// The name is in use.
    NameTaken = 409 "name_taken",
    /// The slug is in use.
    SlugTaken = 409 "slug_taken",
    /// The slug cannot change any more.
    SlugLocked = 409 "slug_locked",
    /// The project is archived.
    ProjectArchived = 409 "project_archived",
    /// The organization would have no owner.
    LastOwner = 409 "last_owner",
    /// Something else needs the object.
    InUse = 409 "in_use",
    /// The first request with this `Idempotency-Key` is still running.
    IdempotencyRunning = 409 "idempotency_running",
    /// The object changed since it was read.
    StaleVersion = 412 "stale_version",
    /// The body is too long.
    TooLarge = 413 "too_large",
    /// The body is of a type that the path does not take.
    UnsupportedMediaType = 415 "unsupported_media_type",
    /// The `Host` is not one of this server.
    WrongHost = 421 "wrong_host",
    /// Fields or parameters are not as they must be.
    Invalid = 422 "invalid",
    /// The configuration has problems.
    ConfigInvalid = 422 "config_invalid",
    /// `If-Match` is missing.
    IfMatchRequired = 428 "if_match_required",
    /// Too many requests.
    RateLimited = 429 "rate_limited",
    /// Our own fault.
    InternalError = 500 "internal_error",
    /// The store cannot be read or written now.
    StoreUnavailable = 503 "store_unavailable",
    /// A provider that is needed for the check does not answer.
    ProviderUnavailable = 503 "provider_unavailable",
}
