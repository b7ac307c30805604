//! `GET /events`: a JSON object after the other, for as long as the daemon sends.

use super::http::{Answer, Call};
use super::query::Query;
use super::{Client, ClientError};
use serde_json::Value;

/// Events that come.
pub struct EventStream {
    answer: Answer,
    rest: Vec<u8>,
}

impl Client {
    /// `GET /events`; both moments in seconds since 1970, `filters` is the API's JSON.
    pub async fn events(
        &self,
        since: Option<&str>,
        until: Option<&str>,
        filters: Option<&str>,
    ) -> Result<EventStream, ClientError> {
        let query = Query::new().maybe("filters", filters).maybe("since", since).maybe("until", until);
        let answer = self.stream(Call::get("/events").query(query)).await?;
        Ok(EventStream { answer, rest: vec![] })
    }
}

impl EventStream {
    /// The next event; none when the daemon has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.rest).into_iter::<Value>();
            match values.next() {
                Some(Ok(value)) => {
                    let used = values.byte_offset();
                    self.rest.drain(..used);
                    return Ok(Some(value));
                }
                Some(Err(source)) if !source.is_eof() => {
                    return Err(ClientError::Answer { call: self.answer.call().to_owned(), source });
                }
                _ => {}
            }
            match self.answer.piece().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}
