//! Requests that are forms with a file.

use crate::{
    base::Turns,
    sound::measure,
    wire::{BodyError, BodyFault, ErrorCase, FormFault, FormType, RequestView, view_form},
};

use super::{exchange::Exchange, heard::Heard, reply::Refusal};

/// Whether a body of this type is a form that can be read.
///
/// # Errors
/// The refusal of another type, or of a form without a sound boundary.
pub(super) fn check_type(content_type: &[u8]) -> Result<(), Refusal> {
    if FormType::parse(content_type).is_some() {
        return Ok(());
    }
    let message = "the body must be `content-type: multipart/form-data` with one `boundary`";
    Err(Refusal::new(ErrorCase::UnsupportedMediaType, message))
}

/// Reads a form, and how long its file lasts, in turns: other requests of the worker go on in between.
///
/// # Errors
/// [`BodyError`].
pub(super) async fn view(
    exchange: &mut Exchange<'_>,
    content_type: &[u8],
    body: &[u8],
) -> Result<RequestView, BodyError> {
    // It was looked at before the body was read.
    let form_type =
        FormType::parse(content_type).ok_or(BodyError { fault: BodyFault::Form(FormFault::Start), at: 0 })?;
    let mut turns = Turns::default();
    let form = view_form(form_type, body, &mut turns).await?;
    let length = measure(form.file.of(body), &mut turns).await;
    exchange.heard = Some(Heard { length, format: form.format, text_bytes: form.text_bytes });
    Ok(RequestView::of_form(form))
}
