//! What a plan lists, and nothing else by any name; each session by its own.

use super::client::{PARAMIKO, paramiko};
use super::journal::{connections, ended, refused};
use super::services::{greet, nobody_came, serve};
use super::{LISTED, NOT_LISTED, bastion, forwarding};
use access::approval::Decision;
use access::forward::parse_list;
use access::grant::Operation;
use access::plan::PlanText;
use access::session::SessionState;
use access::{Intervention, InterventionId, Operator};
use e2e::bastion::TARGET;
use e2e::{Bastion, Options, Way, decided, eventually, free_port, time};
use std::time::Duration;
use store::Store;

#[test]
fn a_plan_for_forward_that_lists_nothing_permits_nothing_and_a_list_needs_the_operation() {
    let port = free_port();
    let came = serve(port, greet);
    let bastion = Bastion::start(forwarding(Options::logged_in_already()));
    for way in Way::ALL {
        let ssh = bastion.ssh("alice").by(way).option("-oLogLevel=INFO");
        let ran = ssh.option(&format!("-W127.0.0.1:{port}"));
        ran.run_with_input(&[], b"").refused_with(NOT_LISTED);
        assert_eq!(
            bastion.ssh("alice").by(way).run("echo shell").ok(),
            "shell\n"
        );
    }
    nobody_came(&came);
    let asked = |options: &str| {
        bastion.bare("alice").run(&format!(
            "request {TARGET} --purpose 'to look at the web server' --impact none \
             --rollback none {options}"
        ))
    };
    for (options, says) in [
        ("--forward localhost:80", "`forward` is not planned"),
        (
            "--operations forward --forward *:80",
            "`*:80` is not a valid destination",
        ),
        (
            "--operations forward --forward localhost:0",
            "`localhost:0` is not",
        ),
    ] {
        let ran = asked(options);
        assert_ne!(ran.status, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
    let _ = asked("--operations forward --forward LOCALHOST:80 --forward [::1]:*").ok();
    let plans = bastion.events("intervention.drafted");
    let listed = &plans.last().unwrap()["detail"]["plan"]["text"]["forwards"];
    assert_eq!(*listed, serde_json::json!(["localhost:80", "[::1]:*"]));
}

#[test]
fn other_spellings_and_impossible_ports_go_nowhere() {
    let bastion = bastion();
    let port = LISTED[2];
    serve(port, greet);
    let any = free_port();
    serve(any, greet);
    let hosts = [
        ("127.0.0.1", port, "hello"),
        ("localhost", any, "hello"),
        ("LOCALHOST", any, "hello"),
        ("localhost.", any, "hello"),
        ("127.0.0.1", any, "no"),
        ("127.1", port, "no"),
        ("127.0.0.01", port, "no"),
        ("0x7f000001", port, "no"),
        ("2130706433", port, "no"),
        ("::ffff:127.0.0.1", port, "no"),
        ("::1", any, "no"),
        ("0.0.0.0", port, "no"),
        ("", port, "no"),
        ("*", port, "no"),
        ("localhost..", any, "no"),
        ("localhost\\0.example", any, "no"),
        ("localhost ", any, "no"),
        ("[127.0.0.1]", port, "no"),
        ("/var/run/docker.sock", port, "no"),
    ];
    let mut rows: Vec<(String, u32, &str)> = hosts
        .into_iter()
        .map(|(host, port, said)| (host.to_owned(), u32::from(port), said))
        .collect();
    for wrapped in [0, 65_536, 65_536 + u32::from(any), u32::MAX] {
        rows.push(("localhost".to_owned(), wrapped, "no"));
    }
    for (way, number) in Way::ALL.into_iter().zip([8, 9]) {
        let who = bastion.login(number);
        let asked: Vec<String> = rows
            .iter()
            .map(|(host, port, _)| format!("('{host}', {port})"))
            .collect();
        let script = format!("{PARAMIKO}\nask([{}])\n", asked.join(", "));
        let said = paramiko(&bastion, who, way, &script).ok();
        let expected: Vec<&str> = rows.iter().map(|(_, _, said)| *said).collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{rows:?}");
        let session = ended(&bastion, who);
        let journal = bastion.journal(&session);
        let went: Vec<_> = connections(&journal)
            .into_iter()
            .map(|one| one.to)
            .collect();
        let mut listed = vec![format!("127.0.0.1:{port}")];
        listed.extend(vec![format!("localhost:{any}"); 3]);
        assert_eq!(went, listed, "in the letters of the plan");
    }
}

#[test]
fn two_sessions_over_one_connection_obey_each_its_own_plan() {
    const OTHER: &str = "db2.chu-exemple";
    let port = free_port();
    serve(port, greet);
    let bastion = Bastion::start(
        Options {
            another_target: Some(OTHER),
            ..Options::logged_in_already()
        }
        .with("--operations", "shell,exec"),
    );
    bastion.rows(|store| async move {
        let mut text = first_intervention(&store).await.plan().text.clone();
        text.targets.retain(|target| target.as_str() == OTHER);
        text.operations = [Operation::Forward].into();
        text.forwards = parse_list(&format!("127.0.0.1:{port}")).unwrap();
        approved(&store, text).await;
    });
    let script = format!(
        "{PARAMIKO}\nfirst, second = client, inside('{OTHER}')\n\
         first.exec_command('true')[1].read()\n\
         for client in [first, second, first]:\n    ask([('127.0.0.1', {port})])\n"
    );
    let said = paramiko(&bastion, "alice", Way::Jump, &script).ok();
    assert_eq!(said, "no\nhello\nno\n");
    let by_target = || {
        let sessions = bastion.sessions("alice").into_iter();
        let over = sessions.filter(|one| one.state != SessionState::Live);
        let told = over.map(|one| (one.target.to_string(), one));
        told.collect::<std::collections::BTreeMap<_, _>>()
    };
    eventually("both have ended", Duration::from_secs(20), || {
        by_target().len() == 2
    });
    let sessions = by_target();
    let went = |target: &str| connections(&bastion.journal(&sessions[target])).len();
    assert_eq!((went(TARGET), went(OTHER)), (0, 1));
    let code = "operation_not_in_intervention";
    refused(
        &bastion,
        &sessions[TARGET],
        &format!("127.0.0.1:{port}"),
        code,
    );
}

#[test]
fn a_login_at_the_bastion_itself_forwards_nothing() {
    let bastion = bastion();
    let port = LISTED[7];
    serve(port, greet);
    let who = bastion.login(18);
    for to in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let ssh = bastion.bare(who).option("-oLogLevel=INFO");
        let ran = ssh.option(&format!("-W{to}")).run_with_input(&[], b"");
        ran.refused_with("target_unknown");
        assert_eq!(ran.stdout, "");
    }
    assert!(bastion.sessions(who).is_empty());
}

pub(super) async fn first_intervention(store: &Store) -> Intervention {
    let all = store::InterventionFilter {
        limit: 10,
        ..Default::default()
    };
    store.interventions(all).await.unwrap().pop().unwrap()
}

async fn approved(store: &Store, text: PlanText) {
    let id: InterventionId = store.next_intervention_id(time()).await.unwrap();
    let customer = store.customers().await.unwrap().remove(0).id;
    let by = text.operators.first().unwrap();
    let by: Operator = store.operator(by).await.unwrap().unwrap();
    let draft = Intervention::draft(id, customer, text, &by, time()).unwrap();
    let draft = store.save(draft).await.unwrap();
    let submitted = store
        .save(draft.submit(&by, time()).unwrap())
        .await
        .unwrap();
    let approved = decided(store, submitted, Decision::Approve, time()).await;
    store.save(approved).await.unwrap();
}
