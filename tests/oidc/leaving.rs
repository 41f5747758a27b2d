//! Signing out: here, and where the provider can do it there too (OpenID Connect RP-Initiated
//! Logout 1.0).

use pacs_tests::provider::{Provider, Terrain, form};
use pacs_tests::server::Server;
use pacs_tests::signed_in::{Browser, header, send};
use pacs_tests::stow::Answer;
use pacs_tests::web::get;
use serde_json::Value;

use crate::{API, CLIENT, Rig, SUBJECT, session};

/// The page of browsers that have signed out.
pub(crate) const PAGE: &str = "http://localhost/signed-out";

/// Signs out as a page does, which reads the token of its session first.
pub(crate) fn sign_out(server: &Server, cookie: &str) -> Answer {
    let path = format!("{API}/session");
    let who = get(server.http(), &path, &[("Cookie", cookie)]).json();
    let token = who["csrf_token"].as_str().expect("a token");
    let fields = [("Cookie", cookie), ("X-CSRF-Token", token)];
    let answer = send(server, "DELETE", &path, &fields, &Value::Null);
    let set = header(&answer, "set-cookie").expect("a cookie");
    assert!(set.starts_with("__host-pacs_session=;"), "{set}");
    let over = get(server.http(), &path, &[("Cookie", cookie)]);
    assert_eq!(over.status, 401, "it is over here in any case");
    answer
}

fn rig(ends_sessions_at: Option<&str>, more: &str) -> Rig {
    let terrain = Terrain {
        ends_sessions_at: ends_sessions_at.map(str::to_owned),
        ..Terrain::default()
    };
    Rig::with(Provider::start(SUBJECT, terrain, None), more)
}

/// Where a browser is sent that signs out, and what is asked there.
fn leaving(rig: &Rig) -> (String, Vec<(String, String)>, Value) {
    let cookie = session(&rig.sign_in());
    let answer = sign_out(&rig.server, &cookie);
    assert_eq!(answer.status, 200);
    let said = answer.json();
    let location = said["location"].as_str().expect("a location");
    let (place, query) = location.split_once("/end?").expect("a query");
    let mut asked: Vec<_> = form(query).into_iter().collect();
    asked.sort();
    (place.to_owned(), asked, said["state"].clone())
}

#[test]
fn whoever_came_by_a_provider_that_ends_sessions_is_told_where() {
    let page = format!("post_logout_redirect_url = {PAGE:?}\n");
    let rig = rig(Some("/end"), &page);

    let (place, asked, state) = leaving(&rig);

    assert_eq!(place, rig.provider.issuer());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let state = state.as_str().expect("a state");
    let expected = [
        pair("client_id", CLIENT.0),
        pair("post_logout_redirect_uri", PAGE),
        pair("state", state),
    ];
    assert_eq!(asked, expected);
    assert_eq!(state.len(), 43, "256 random bits");
    assert_ne!(leaving(&rig).2, state);
    assert!(rig.trail().contains("SIGNED_OUT"));
    rig.keeps_no_token();
}

#[test]
fn without_a_page_to_come_back_to_the_provider_keeps_the_browser() {
    let rig = rig(Some("/realm/end?x=1&y=/end"), "");
    let cookie = session(&rig.sign_in());
    let said = sign_out(&rig.server, &cookie).json();
    let location = format!("{}/realm/end?x=1&y=/end&client_id=", rig.provider.issuer());
    assert_eq!(said["location"], format!("{location}{}", CLIENT.0));
    assert_eq!(said["state"], Value::Null);
}

#[test]
fn a_provider_that_ends_no_sessions_or_says_so_badly_is_left_out() {
    let badly = ["javascript:alert(1)", "https://sso.example/end me", "end"];
    for at in badly.map(Some).into_iter().chain([None]) {
        let rig = rig(at, "");
        let cookie = session(&rig.sign_in());
        let answer = sign_out(&rig.server, &cookie);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{at:?}");
    }
}

#[test]
fn whoever_came_by_a_password_has_nothing_to_end_there() {
    let rig = rig(Some("/end"), "");
    let browser = Browser::of_new_user(&rig.server, "own", &["org_admin@006"]);
    let path = format!("{API}/session");
    let answer = browser.send(&rig.server, "DELETE", &path, &[], &Value::Null);
    assert_eq!(answer.status, 204);
    let asked = rig.provider.requests();
    assert!(asked.is_empty(), "nobody asked the provider: {asked:?}");
}
