//! The log: nothing in it can be changed unseen, on either engine.

use crate::world::{World, admin, customer_id, event, hours, later, now, number, on_both, signer};
use access::{Event, SessionId};
use std::io::Cursor;
use store::audit::{Notes, export, verify, verify_export, verify_export_with, verify_with};
use store::{AuditSigner, EntryFilter, StoreError, VerifyReport};
use tlog_tiles::{Hash, check_record, check_tree, record_hash, stored_hash_count};

on_both! {
    async fn the_database_itself_refuses_to_change_what_is_written(world: World) {
        world.store.checkpoint(&signer(), now()).await.unwrap();
        let mut around = world.around().await;
        let mut refused = vec![
            "UPDATE audit_head SET size = size - 1".to_owned(),
            "UPDATE audit_head SET size = size + 2".to_owned(),
            "DELETE FROM audit_head".to_owned(),
            "INSERT INTO audit_entries (sequence, at, name, text) VALUES (1000, 0, 'x', '{}')".to_owned(),
        ];
        for (table, column) in [
            ("audit_entries", "text = 'x'"),
            ("audit_entries", "at = 0"),
            ("audit_hashes", "position = position + 1000"),
            ("audit_checkpoints", "note = 'x'"),
            ("history", "body = 'x'"),
        ] {
            refused.push(format!("UPDATE {table} SET {column}"));
            refused.push(format!("DELETE FROM {table}"));
            if world.is_sqlite() {
                refused.push(format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"));
                refused.push(format!("REPLACE INTO {table} SELECT * FROM {table}"));
            } else {
                refused.push(format!("TRUNCATE {table}"));
                refused.push(format!("TRUNCATE {table} CASCADE"));
            }
        }
        let before = sizes(&world).await;
        for text in refused {
            assert!(around.run(&text).await.is_err(), "went through: {text}");
            assert_eq!(sizes(&world).await, before, "{text}");
        }
    }

    async fn entries_are_found_in_order_and_by_what_they_are_about(world: World) {
        let approved = world.approved("alice", "chu").await;
        world.submitted("alice", "clinic").await;
        let all = world.store.entries(0, 1000).await.unwrap();
        let numbers: Vec<i64> = all.iter().map(|entry| entry.sequence).collect();
        assert_eq!(numbers, (1..=world.store.head().await.unwrap()).collect::<Vec<i64>>());
        assert_eq!(world.store.entries(3, 2).await.unwrap()[0].sequence, 4);

        let about = EntryFilter { intervention: Some(approved.id.clone()), limit: 10, ..EntryFilter::default() };
        let found = names(&world, about.clone()).await;
        assert_eq!(found, ["intervention.approved", "intervention.submitted", "intervention.drafted"]);
        let page = EntryFilter { limit: 1, ..about.clone() };
        let newest = world.store.entries_about(page.clone()).await.unwrap().remove(0);
        let next = EntryFilter { before: Some(newest.sequence), ..page };
        assert_eq!(names(&world, next).await, ["intervention.submitted"]);
        let other = EntryFilter { customer: Some(customer_id("clinic")), ..about };
        assert!(names(&world, other).await.is_empty());

        let clinic = EntryFilter {
            customer: Some(customer_id("clinic")),
            name_prefix: Some("intervention."),
            limit: 10,
            ..EntryFilter::default()
        };
        assert_eq!(names(&world, clinic).await, ["intervention.submitted", "intervention.drafted"]);
        let none = EntryFilter { session: Some(SessionId::from_random([1; 16])), limit: 10, ..EntryFilter::default() };
        assert!(names(&world, none).await.is_empty());
        let everywhere = EntryFilter { name_prefix: Some("operator."), limit: 2, ..EntryFilter::default() };
        assert_eq!(names(&world, everywhere).await, ["operator.registered", "operator.registered"]);
    }

    async fn a_checkpoint_is_signed_only_where_there_is_something_new(world: World) {
        let signer = signer();
        let first = world.store.checkpoint(&signer, now()).await.unwrap().unwrap();
        assert_eq!(first.size, world.store.head().await.unwrap());
        assert_eq!(world.store.checkpoint(&signer, now()).await.unwrap(), None);
        assert_eq!(signer.verifier().open(&first.note), Ok((first.size, first.root)));
        world.store.append(event("service.started")).await.unwrap();
        let second = world.store.checkpoint(&signer, later(10)).await.unwrap().unwrap();
        assert_eq!(second.size, first.size + 1);
        assert_eq!(world.store.checkpoints(10).await.unwrap(), [second, first]);
    }

    async fn two_bastions_that_sign_at_once_sign_once(world: World) {
        let signer = signer();
        let (one, two) = tokio::join!(
            world.store.checkpoint(&signer, now()),
            world.store.checkpoint(&signer, now())
        );
        let heads = [one.unwrap(), two.unwrap()];
        assert_eq!(heads.iter().flatten().count(), 1, "{heads:?}");
    }

    async fn proofs_convince_the_tree_librarys_own_checker(world: World) {
        let signer = signer();
        let mut checkpoints = Vec::new();
        for _ in 0..3 {
            for _ in 0..7 {
                world.store.append(event("service.started")).await.unwrap();
            }
            checkpoints.push(world.store.checkpoint(&signer, now()).await.unwrap().unwrap());
        }
        let entries = world.store.entries(0, 1000).await.unwrap();
        for checkpoint in &checkpoints {
            let (size, root) = (checkpoint.size, Hash(checkpoint.root));
            for entry in entries.iter().filter(|entry| entry.sequence <= size) {
                let proof = world.store.inclusion_proof(entry.sequence, size).await.unwrap();
                let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
                let leaf = record_hash(entry.text.as_bytes());
                let index = u64::try_from(entry.sequence - 1).unwrap();
                check_record(&proof, size.unsigned_abs(), root, index, leaf).unwrap();
                let other = record_hash(b"another entry");
                assert!(check_record(&proof, size.unsigned_abs(), root, index, other).is_err());
            }
            for later in checkpoints.iter().filter(|later| later.size >= size) {
                let proof = world.store.consistency_proof(size, later.size).await.unwrap();
                let proof = proof.into_iter().map(Hash).collect();
                check_tree(&proof, later.size.unsigned_abs(), Hash(later.root), size.unsigned_abs(), root).unwrap();
            }
        }
        let head = world.store.head().await.unwrap();
        for (number, size) in [(0, 1), (2, 1), (1, head + 1), (-1, 3)] {
            assert!(matches!(
                world.store.inclusion_proof(number, size).await,
                Err(StoreError::NotFound { .. })
            ));
            assert!(world.store.consistency_proof(number, size).await.is_err());
        }
    }

    async fn a_whole_log_verifies_and_says_how_far_it_is_signed(world: World) {
        let signer = signed_log(&world).await;
        let report = verify(&world.store, &signer.verifier()).await.unwrap();
        let head = world.store.head().await.unwrap();
        let rows = 1 + 2 * 3 + 2 * 3;
        let found = VerifyReport { entries: head, checkpoints: 3, signed: head - 2, rows, unsigned: Some((now(), now())), problems: vec![] };
        assert_eq!(report, found);
        let empty_handed = verify(&world.store, &self::signer().verifier()).await.unwrap();
        assert_eq!(empty_handed.signed, 0);
        assert!(empty_handed.problems[0].contains("carries no valid signature"), "{empty_handed:?}");
    }

    async fn whatever_is_changed_by_force_is_named(world: World) {
        let signer = signed_log(&world).await;
        let head = world.store.head().await.unwrap();
        let newest = head - 2;
        let mut around = world.around().await;
        around.disarm().await;
        for table in ["audit_entries", "audit_hashes", "audit_checkpoints", "audit_head"] {
            around.run(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await.unwrap();
        }
        let swap = "UPDATE audit_entries SET sequence = 900 WHERE sequence = 9; \
                    UPDATE audit_entries SET sequence = 9 WHERE sequence = 12; \
                    UPDATE audit_entries SET sequence = 12 WHERE sequence = 900";
        let rows: [(&str, String, &[&str]); 17] = [
            ("one character of an entry",
                "UPDATE audit_entries SET text = REPLACE(text, 'service', 'servicf') WHERE sequence = 16".into(),
                &["entry `16` was changed"]),
            ("white space in an entry",
                "UPDATE audit_entries SET text = REPLACE(text, ':', ': ') WHERE sequence = 16".into(),
                &["entry `16` was changed: it is not canonical"]),
            ("an entry that is no JSON",
                "UPDATE audit_entries SET text = 'x' WHERE sequence = 16".into(),
                &["entry `16` was changed"]),
            ("a column of an entry",
                "UPDATE audit_entries SET customer_id = 'clinic' WHERE sequence = 16".into(),
                &["entry `16` was changed: its columns"]),
            ("the time of an entry",
                "UPDATE audit_entries SET at = at + 1 WHERE sequence = 16".into(),
                &["entry `16` was changed: its columns"]),
            ("an entry deleted", "DELETE FROM audit_entries WHERE sequence = 16".into(),
                &["entry `16` is missing"]),
            ("several entries deleted", "DELETE FROM audit_entries WHERE sequence IN (3, 4, 5, 9)".into(),
                &["entries `3` to `5` are missing", "entry `9` is missing"]),
            ("the tail deleted", format!("DELETE FROM audit_entries WHERE sequence > {}", newest - 2),
                &["are missing"]),
            ("the tail cut with care",
                format!("DELETE FROM audit_entries WHERE sequence > {c}; UPDATE audit_head SET size = {c}; \
                         DELETE FROM audit_hashes WHERE position >= {p}", c = newest - 1, p = stored_hash_count((newest - 1).unsigned_abs())),
                &["its tail was cut"]),
            ("two entries swapped", swap.into(),
                &["entry `9` is not in its place", "entry `12` is not in its place"]),
            ("a kept node of the tree: a leaf",
                format!("UPDATE audit_hashes SET hash = {} WHERE position = 0", zeros(&world)),
                &["entry `1` was changed"]),
            ("a kept node of the tree: a branch",
                format!("UPDATE audit_hashes SET hash = {} WHERE position = 2", zeros(&world)),
                &["node `2` of the tree, completed by entry `2`, was changed"]),
            ("a node deleted", "DELETE FROM audit_hashes WHERE position = 2".into(),
                &["node `2` of the tree, completed by entry `2`, is missing"]),
            ("the root of a checkpoint",
                format!("UPDATE audit_checkpoints SET root = {} WHERE size = {newest}", zeros(&world)),
                &["was changed: its note says otherwise"]),
            ("the size of a checkpoint",
                format!("UPDATE audit_checkpoints SET size = size + 1 WHERE size = {newest}"),
                &["was changed: its note says otherwise"]),
            ("the note of a checkpoint",
                format!("UPDATE audit_checkpoints SET note = REPLACE(note, '{newest}', '{}') WHERE size = {newest}", newest - 1),
                &["carries no valid signature"]),
            ("an entry forged after the end",
                format!("INSERT INTO audit_entries (sequence, at, name, text) VALUES ({}, 0, 'x', '{{}}')", head + 1),
                &["the log counts"]),
        ];
        for (what, text, sentences) in rows {
            around.run(&text).await.unwrap();
            let report = verify(&world.store, &signer.verifier()).await.unwrap();
            let said = report.problems.join("\n");
            for sentence in sentences {
                assert!(said.contains(sentence), "{what}: {sentence:?} is not in:\n{said}");
            }
            // Rows whose entries are gone are named each by itself.
            let of_log = report.problems.iter().filter(|p| !p.starts_with("row `") && !p.starts_with("version "));
            assert!(of_log.count() <= 3, "{what} is said too often:\n{said}");
            for table in ["audit_entries", "audit_hashes", "audit_checkpoints", "audit_head"] {
                around.run(&format!("DELETE FROM {table}")).await.unwrap_or(0);
                if world.is_sqlite() && table == "audit_head" {
                    around.run("UPDATE audit_head SET size = (SELECT size FROM saved_audit_head)").await.unwrap();
                } else {
                    around.run(&format!("INSERT INTO {table} SELECT * FROM saved_{table}")).await.unwrap();
                }
            }
            let again = verify(&world.store, &signer.verifier()).await.unwrap();
            assert_eq!(again.problems, Vec::<String>::new(), "after {what} was put back");
        }
    }

    async fn an_entry_rewritten_with_its_whole_tree_breaks_the_checkpoints(world: World) {
        let signer = signed_log(&world).await;
        let head = world.store.head().await.unwrap();
        let mut around = world.around().await;
        around.disarm().await;
        // Everything from entry 5 on is written anew, as if it had always been so.
        for text in [
            "DELETE FROM audit_entries WHERE sequence > 4",
            "DELETE FROM audit_hashes WHERE position >= 7",
            "UPDATE audit_head SET size = 4",
        ] {
            around.run(text).await.unwrap();
        }
        for _ in 5..=head {
            world.store.append(event("service.forged")).await.unwrap();
        }
        let report = verify(&world.store, &signer.verifier()).await.unwrap();
        let said = report.problems.join("\n");
        assert!(said.contains("does not match the log: something after entry `0` was rewritten"), "{said}");
        assert!(said.contains("`2` later checkpoints do not match either"), "{said}");
        world.store.append(event("service.started")).await.unwrap();
        let refused = world.store.checkpoint(&signer, now()).await.unwrap_err();
        assert!(refused.to_string().contains("nothing more is signed on it"), "{refused}");
    }

    async fn nothing_is_signed_on_a_log_whose_tail_was_cut(world: World) {
        let signer = signed_log(&world).await;
        let mut around = world.around().await;
        around.disarm().await;
        around.run("UPDATE audit_head SET size = 5").await.unwrap();
        let refused = world.store.checkpoint(&signer, now()).await.unwrap_err();
        assert!(refused.to_string().contains("its tail was cut"), "{refused}");
    }

    async fn an_export_verifies_without_the_database(world: World) {
        let signer = signed_log(&world).await;
        let lines = exported(&world).await;
        let report = check(&lines, &signer);
        let head = world.store.head().await.unwrap();
        let found = VerifyReport { entries: head, checkpoints: 3, signed: head - 2, rows: 0, unsigned: Some((now(), now())), problems: vec![] };
        assert_eq!(report, found);
        assert!(!check(&lines, &self::signer()).problems.is_empty());
    }

    async fn any_flipped_byte_of_the_signed_part_of_an_export_is_noticed(world: World) {
        let signer = signed_log(&world).await;
        let lines = exported(&world).await;
        // The times beside the checkpoints are not signed, and the two last entries not yet.
        let covered: usize = lines[..lines.len() - 2].iter().map(String::len).sum();
        let text = lines.concat().into_bytes();
        let unsigned = b"\"at\":1795510800000000,\"note\"";
        for at in (0..covered).step_by(7) {
            let beside_note = (at.saturating_sub(unsigned.len())..=at)
                .any(|start| text[start..].starts_with(unsigned));
            if beside_note {
                continue;
            }
            let mut changed = text.clone();
            changed[at] ^= 4;
            let report = verify_export(Cursor::new(changed), &signer.verifier()).unwrap();
            assert!(!report.problems.is_empty(), "byte {at} of {}", String::from_utf8_lossy(&text[at.saturating_sub(20)..at + 20]));
        }
    }

    async fn a_line_taken_out_swapped_or_cut_off_an_export_is_named(world: World) {
        let signer = signed_log(&world).await;
        let lines = exported(&world).await;
        let entry = |number: i64| lines.iter().position(|l| l.contains(&format!("\"sequence\":{number},"))).unwrap();
        let mut without = lines.clone();
        without.remove(entry(5));
        let said = check(&without, &signer).problems.join("\n");
        assert!(said.contains("entries `5` to `5` are missing"), "{said}");

        let mut swapped = lines.clone();
        swapped.swap(entry(5), entry(6));
        let said = check(&swapped, &signer).problems.join("\n");
        assert!(said.contains("entry `5` comes after entry `6`"), "{said}");

        let last = lines.iter().rposition(|l| l.starts_with("{\"checkpoint\"")).unwrap();
        let mut cut = lines[..last - 2].to_vec();
        cut.push(lines[last].clone());
        let said = check(&cut, &signer).problems.join("\n");
        assert!(said.contains("but the log before it ends with entry"), "{said}");

        let mut early = lines.clone();
        early.swap(last, last + 1);
        let said = check(&early, &signer).problems.join("\n");
        assert!(said.contains("is not in its place"), "{said}");

        let mut odd = lines;
        odd.insert(3, "\n".to_owned());
        assert_eq!(check(&odd, &signer).problems, ["line `4` is neither an entry nor a checkpoint"]);
    }

    async fn an_export_of_a_cut_log_carries_the_checkpoint_that_shows_it(world: World) {
        let signer = signed_log(&world).await;
        let head = world.store.head().await.unwrap();
        let mut around = world.around().await;
        around.disarm().await;
        around.run(&format!("UPDATE audit_head SET size = {}", head - 4)).await.unwrap();
        let said = check(&exported(&world).await, &signer).problems.join("\n");
        assert!(said.contains(&format!("covers `{}` entries", head - 2)), "{said}");
    }

    async fn what_proves_nothing_does_not_hold(world: World) {
        let said = |report: VerifyReport, at| report.at(at).problems.join("\n");
        let unsigned = verify(&world.store, &signer().verifier()).await.unwrap();
        assert!(said(unsigned, now()).contains("no checkpoint that holds covers any entry"));

        let signer = signed_log(&world).await;
        let report = verify(&world.store, &signer.verifier()).await.unwrap();
        assert_eq!(said(report.clone(), later(60)), "");
        assert!(said(report.clone(), later(61)).contains("no bastion has signed since"));
        let before = now().minus(hours(1));
        assert!(said(report, before).contains("which is to come"));
        world.store.checkpoint(&signer, now()).await.unwrap().unwrap();
        let whole = verify(&world.store, &signer.verifier()).await.unwrap();
        assert_eq!(said(whole, later(1_000_000)), "");

        let lines = exported(&world).await;
        assert_eq!(said(check(&lines, &signer), later(1_000_000)), "");
        let bare: Vec<String> = lines.iter().filter(|line| line.starts_with("{\"entry\"")).cloned().collect();
        for proves_nothing in [&bare[..], &bare[..3], &[]] {
            let report = check(proves_nothing, &signer);
            assert!(said(report, now()).contains("nothing is proven"), "{}", proves_nothing.len());
        }
        let tail = lines.iter().rposition(|line| line.starts_with("{\"checkpoint\"")).unwrap();
        let report = check(&lines[..tail], &signer);
        assert!(said(report, later(61)).contains("no bastion has signed since"));
    }

    async fn notes_kept_elsewhere_show_a_tail_that_was_cut_with_its_checkpoints(world: World) {
        let signer = signed_log(&world).await;
        let newest_first = world.store.checkpoints(10).await.unwrap();
        let notes: Vec<&str> = newest_first.iter().rev().map(|c| c.note.as_str()).collect();
        let text = format!("{}\n", notes.join("\n"));
        let notes = Notes::read(&text, &signer.verifier());
        assert_eq!(notes.newest(), Some((newest_first[0].size, newest_first[0].root)));
        let whole = verify_with(&world.store, &signer.verifier(), &notes).await.unwrap();
        assert_eq!(whole.problems, Vec::<String>::new());
        assert!(world.store.begins_with(newest_first[0].size, newest_first[0].root).await.unwrap());
        let lines = exported(&world).await;
        let report = verify_export_with(Cursor::new(lines.concat()), &signer.verifier(), &notes).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());

        // An export that ends with an earlier checkpoint, and a database that was cut to one.
        let earlier = newest_first[1].size;
        let end = lines.iter().position(|l| l.contains(&format!("\"size\":{earlier}}}"))).unwrap();
        let cut = lines[..=end].concat();
        assert_eq!(verify_export(Cursor::new(&cut), &signer.verifier()).unwrap().at(later(9999)).problems, Vec::<String>::new());
        let report = verify_export_with(Cursor::new(&cut), &signer.verifier(), &notes).unwrap();
        assert!(report.problems.join("\n").contains("it was cut or rewritten"), "{report:?}");

        let mut around = world.around().await;
        around.disarm().await;
        for text in [
            format!("DELETE FROM audit_entries WHERE sequence > {earlier}"),
            format!("DELETE FROM audit_checkpoints WHERE size > {earlier}"),
            format!("DELETE FROM audit_hashes WHERE position >= {}", stored_hash_count(earlier.unsigned_abs())),
            format!("UPDATE audit_head SET size = {earlier}"),
        ] {
            around.run(&text).await.unwrap();
        }
        let agrees = verify(&world.store, &signer.verifier()).await.unwrap();
        assert_eq!(agrees.problems, Vec::<String>::new(), "it agrees with itself");
        let report = verify_with(&world.store, &signer.verifier(), &notes).await.unwrap();
        assert!(report.problems.join("\n").contains("it was cut or rewritten"), "{report:?}");
        assert!(!world.store.begins_with(newest_first[0].size, newest_first[0].root).await.unwrap());
        for _ in 0..9 {
            world.store.append(event("service.forged")).await.unwrap();
        }
        let report = verify_with(&world.store, &signer.verifier(), &notes).await.unwrap();
        assert!(report.problems.join("\n").contains("signs another log"), "{report:?}");
        assert!(!world.store.begins_with(newest_first[0].size, newest_first[0].root).await.unwrap());
    }

    async fn an_entry_says_what_the_event_said(world: World) {
        let told = Event::new("intervention.revoked", admin(), "intervention INT-2026-00001", now())
            .of_customer(&customer_id("chu"))
            .in_intervention(&number(1))
            .with("reason", "l'hôpital \u{1} appelle");
        let sequence = world.store.append(told.clone()).await.unwrap();
        let entry = world.store.entries(sequence - 1, 1).await.unwrap().remove(0);
        assert_eq!(entry.text, told.entry(sequence));
        assert_eq!(entry.at, now());
    }
}

/// Three checkpoints over some entries, and two entries after them.
async fn signed_log(world: &World) -> AuditSigner {
    let signer = signer();
    for _ in 0..3 {
        for _ in 0..5 {
            world.store.append(event("service.started")).await.unwrap();
        }
        world
            .store
            .checkpoint(&signer, now())
            .await
            .unwrap()
            .unwrap();
    }
    for _ in 0..2 {
        world.store.append(event("service.started")).await.unwrap();
    }
    signer
}

async fn exported(world: &World) -> Vec<String> {
    let mut out = Vec::new();
    export(&world.store, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn check(lines: &[String], signer: &AuditSigner) -> VerifyReport {
    verify_export(Cursor::new(lines.concat()), &signer.verifier()).unwrap()
}

async fn names(world: &World, filter: EntryFilter<'_>) -> Vec<String> {
    let found = world.store.entries_about(filter).await.unwrap();
    let name = |text: &str| {
        let rest = text.split("\"event\":\"").nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    found.iter().map(|entry| name(&entry.text)).collect()
}

async fn sizes(world: &World) -> Vec<i64> {
    let mut around = world.around().await;
    let mut sizes = vec![world.store.head().await.unwrap()];
    for table in [
        "audit_entries",
        "audit_hashes",
        "audit_checkpoints",
        "history",
    ] {
        sizes.push(
            around
                .number(&format!("SELECT COUNT(*) FROM {table}"))
                .await,
        );
    }
    sizes
}

fn zeros(world: &World) -> String {
    let digits = "00".repeat(32);
    if world.is_sqlite() {
        format!("X'{digits}'")
    } else {
        format!("'\\x{digits}'")
    }
}
