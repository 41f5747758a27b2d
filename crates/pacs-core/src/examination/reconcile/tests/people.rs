//! What names, numbers and earlier decisions say.

use super::*;
use proptest::prelude::*;

/// What becomes of a study whose ID was typed, and whose header says this besides.
fn with(texts: &[(Tag, &str)]) -> Verdict {
    let texts: Vec<_> = [(tags::ACCESSION_NUMBER, ID)]
        .into_iter()
        .chain(texts.iter().copied())
        .collect();
    judge(&header(&texts), &[order(ID)])
}

#[test]
fn spellings_are_no_conflict() {
    for person in [
        // The number of the archive, or the PIN, however typed, whatever the name.
        &[
            (tags::PATIENT_ID, "P0000005724"),
            (tags::PATIENT_NAME, "X^Y"),
        ][..],
        &[(tags::PATIENT_ID, "2 0101 1990 99907")],
        &[(tags::PATIENT_ID, "p0000005724")],
        // A number of the device's own, and the same person.
        &[
            (tags::PATIENT_ID, "17"),
            (tags::PATIENT_NAME, "Jeenbekov^Uson"),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ],
        // No number: one of name and date may be mistyped.
        &[
            (tags::PATIENT_NAME, "Женбеков^Усон"),
            (tags::PATIENT_BIRTH_DATE, "19900110"),
        ],
        // Initials, and a given name that is mistyped.
        &[
            (tags::PATIENT_NAME, "Zheenbekov^U^O"),
            (tags::PATIENT_BIRTH_DATE, "19900110"),
        ],
        &[
            (tags::PATIENT_NAME, "Zheenbekov^Usin"),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ],
        // The family name of a marriage, and all in one component.
        &[
            (tags::PATIENT_NAME, "Ivanov^Uson"),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ],
        &[(tags::PATIENT_NAME, "ZHEENBEKOV USON OMURBEKOVICH")],
        // A card of the hospital, and nothing against it.
        &[(tags::PATIENT_ID, "card 5")],
        &[(tags::PATIENT_BIRTH_DATE, "19900101")],
        &[],
    ] {
        assert_eq!(with(person), bound(Rule::AccessionNumber), "{person:?}");
    }
}

#[test]
fn another_patient_is_a_conflict() {
    for person in [
        // A twin: all but the number agrees.
        &[
            (tags::PATIENT_ID, "P0000000013"),
            (tags::PATIENT_NAME, "Jeenbekov^Usen"),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ][..],
        &[(tags::PATIENT_ID, "T0000000013")],
        &[(tags::PATIENT_ID, "20101199099908")],
        // A name or a date alone that says another.
        &[(tags::PATIENT_NAME, "Ivanova^Anna")],
        &[(tags::PATIENT_BIRTH_DATE, "19810203")],
        // A device's own number that happens to be the card of the order's patient.
        &[
            (tags::PATIENT_ID, "card 5"),
            (tags::PATIENT_NAME, "Ivanova^Anna"),
            (tags::PATIENT_BIRTH_DATE, "19810203"),
        ],
        &[
            (tags::PATIENT_ID, "17"),
            (tags::PATIENT_NAME, "Jeenbekov^Uson"),
            (tags::PATIENT_BIRTH_DATE, "19900110"),
        ],
        &[
            (tags::PATIENT_NAME, "Ivanova^Anna"),
            (tags::PATIENT_BIRTH_DATE, "19810203"),
        ],
        // A brother, whose date of birth is another or not told.
        &[
            (tags::PATIENT_NAME, "Zheenbekov^Bakyt^Omurbekovich"),
            (tags::PATIENT_BIRTH_DATE, "19930507"),
        ],
        &[(tags::PATIENT_NAME, "Zheenbekov^Bakyt^Omurbekovich")],
        // Whose date of birth nobody knows is born on 1 January in many papers.
        &[
            (tags::PATIENT_NAME, "Ivanova^Anna"),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ],
        // уулу is in half of all names.
        &[
            (tags::PATIENT_NAME, "Асан уулу^Чыңгыз"),
            (tags::PATIENT_BIRTH_DATE, "19810203"),
        ],
    ] {
        assert_eq!(reason_of(with(person)), QueueReason::Conflict, "{person:?}");
    }
}

#[test]
fn what_a_person_took_away_only_a_person_binds_again() {
    let mut planned = order(ID);
    planned.planned_study = StudyUid::parse("1.2.3").unwrap();
    let headers = [header(&[
        (tags::ACCESSION_NUMBER, ID),
        (tags::PATIENT_ID, "P0000005724"),
    ])];
    let taken_away = Received {
        not_of: &[id(ID)],
        ..received(&headers)
    };
    let reason = reason_of(verdict(&taken_away, &[planned], BY_PATIENT));
    assert_eq!(reason, QueueReason::Unbound);
    let headers = [header(&[(tags::PATIENT_ID, "P0000005724")])];
    let taken_away = Received {
        not_of: &[id(ID)],
        ..received(&headers)
    };
    let reason = reason_of(verdict(&taken_away, &[order(ID)], BY_PATIENT));
    assert_eq!(reason, QueueReason::NoId);
}

#[test]
fn a_known_patient_is_a_suggestion_unless_the_policy_says_more() {
    let known = header(&[(tags::PATIENT_ID, "P0000005724")]);
    let suggested = vec![(ID.to_owned(), Rule::Patient)];
    let verdict_of = |candidates: &[Candidate]| queued(judge(&known, candidates));
    assert_eq!(verdict_of(&[order(ID)]), (QueueReason::NoId, suggested));

    let headers = [known.clone()];
    let automatic = |candidates: &[Candidate]| verdict(&received(&headers), candidates, BY_PATIENT);
    assert_eq!(automatic(&[order(ID)]), bound(Rule::Patient));
    let reason = reason_of(automatic(&[order(ID), other()]));
    assert_eq!(reason, QueueReason::Ambiguous);
    let by_card = [header(&[(tags::PATIENT_ID, "card 5")])];
    let verdict_by_card = verdict(&received(&by_card), &[order(ID)], BY_PATIENT);
    assert_eq!(queued(verdict_by_card), (QueueReason::NoId, vec![]));

    // Neither far away in time, nor done, nor of another kind or organisation.
    let changes: [fn(&mut Candidate); 4] = [
        |order| order.scheduled_at = "2025-03-11T10:15:01".parse().unwrap(),
        |order| order.status = Status::ImagesReceived,
        |order| order.kind = Kind::Mr,
        |order| order.organisation = organisation("007"),
    ];
    for change in changes {
        let mut candidate = order(ID);
        change(&mut candidate);
        let (reason, suggestions) = queued(automatic(&[candidate]));
        assert_eq!((reason, suggestions.len()), (QueueReason::NoId, 0));
    }
    // Without a date of the study, it is the time of arrival that counts.
    let undated = [header(&[
        (tags::PATIENT_ID, "P0000005724"),
        (tags::STUDY_DATE, ""),
    ])];
    let verdict_of = verdict(&received(&undated), &[order(ID)], BY_PATIENT);
    assert_eq!(verdict_of, bound(Rule::Patient));
}

#[test]
fn a_name_that_sounds_alike_is_never_more_than_a_suggestion() {
    let suggested = |texts: &[(Tag, &str)]| {
        let headers = [header(texts)];
        queued(verdict(&received(&headers), &[order(ID)], BY_PATIENT)).1
    };
    let alike = vec![(ID.to_owned(), Rule::NameAlike)];
    for name in ["Жээнбеков^Үсөн^Өмүрбекович", "OMURBEKOVICH^USON^JEENBEKOV"]
    {
        let born = [
            (tags::PATIENT_NAME, name),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ];
        assert_eq!(suggested(&born), alike);
        let of_sex = [(tags::PATIENT_NAME, name), (tags::PATIENT_SEX, "M")];
        assert_eq!(suggested(&of_sex), alike);
        for other in [
            [
                (tags::PATIENT_NAME, name),
                (tags::PATIENT_BIRTH_DATE, "19900102"),
            ],
            [(tags::PATIENT_NAME, name), (tags::PATIENT_SEX, "F")],
            [
                (tags::PATIENT_NAME, "Жээнбеков^Айбек"),
                (tags::PATIENT_SEX, "M"),
            ],
        ] {
            assert_eq!(suggested(&other), []);
        }
    }
}

#[test]
fn images_follow_the_study_they_belong_to() {
    let first = header(&[
        (tags::ACCESSION_NUMBER, ID),
        (tags::PATIENT_ID, "P0000005724"),
        (tags::PATIENT_NAME, "Ivanov Azamat"),
    ]);
    let binding = Binding {
        order: order(ID),
        seen: vec![first],
    };
    let follow = |texts: &[(Tag, &str)], origin, has_other_version| {
        let headers = [header(texts)];
        let received = Received {
            origin,
            binding: Some(&binding),
            has_other_version,
            ..received(&headers)
        };
        verdict(&received, &[order(ID), other()], BY_PATIENT)
    };
    let rule = Rule::StudyBound;
    for same in [
        &[][..],
        &[(tags::PATIENT_ID, "P0000005724")],
        &[
            (tags::ACCESSION_NUMBER, ID),
            (tags::PATIENT_NAME, "Azamat^Ivanov"),
        ],
    ] {
        assert_eq!(follow(same, here(), false), flagged(rule, &[]), "{same:?}");
    }
    let mixed = QueueReason::MixedPatient;
    for another in [
        (tags::PATIENT_ID, "P0000000013"),
        (tags::PATIENT_ID, OTHER_ID),
        (tags::ACCESSION_NUMBER, OTHER_ID),
        (tags::PATIENT_NAME, "Petrov Azamat"),
    ] {
        assert_eq!(follow(&[another], here(), false), flagged(rule, &[mixed]));
    }
    let version = QueueReason::DuplicateUidDifferentContent;
    assert_eq!(follow(&[], here(), true), flagged(rule, &[version]));
    let both = follow(&[(tags::PATIENT_ID, "P0000000013")], here(), true);
    assert_eq!(both, flagged(rule, &[mixed, version]));

    // The same UID at another hospital is not this examination's.
    let elsewhere = Origin::Device(organisation("007"));
    let verdict_of = queued(follow(&[], elsewhere, false));
    assert_eq!(verdict_of, (QueueReason::OtherOrg, vec![]));
}

#[test]
fn behind_a_first_image_that_names_nobody_another_patient_is_seen() {
    let silent = header(&[(tags::ACCESSION_NUMBER, ID)]);
    let binding = Binding {
        order: order(ID),
        seen: vec![silent.clone()],
    };
    let follow = |texts: &[&[(Tag, &str)]], binding: &Binding| {
        let mut headers = vec![silent.clone()];
        headers.extend(texts.iter().map(|texts| header(texts)));
        let received = Received {
            binding: Some(binding),
            ..received(&headers)
        };
        verdict(&received, &[], MatchingPolicy::default())
    };
    let (clear, mixed) = (
        flagged(Rule::StudyBound, &[]),
        flagged(Rule::StudyBound, &[QueueReason::MixedPatient]),
    );
    for right in [
        &[][..],
        &[(tags::PATIENT_NAME, "Jeenbekov^Uson")],
        &[
            (tags::PATIENT_ID, ID),
            (tags::PATIENT_BIRTH_DATE, "19900101"),
        ],
    ] {
        assert_eq!(follow(&[right], &binding), clear, "{right:?}");
    }
    for another in [
        &[(tags::PATIENT_ID, "P0000000013")][..],
        &[(tags::PATIENT_NAME, "Ivanova^Anna")],
        &[(tags::PATIENT_BIRTH_DATE, "19810203")],
    ] {
        assert_eq!(follow(&[another], &binding), mixed, "{another:?}");
    }
    // Neither speaks against the order, and they are not of one person.
    let man: &[_] = &[(tags::PATIENT_SEX, "M")];
    let woman: &[_] = &[(tags::PATIENT_SEX, "F")];
    assert_eq!(follow(&[man], &binding), clear);
    assert_eq!(follow(&[man, woman], &binding), mixed);
    // What a person saw is seen, and somebody else again is not.
    let seen = Binding {
        seen: vec![
            silent.clone(),
            header(&[
                (tags::PATIENT_NAME, "Ivanova^Anna"),
                (tags::PATIENT_BIRTH_DATE, "19810203"),
            ]),
        ],
        ..binding
    };
    let anna: &[_] = &[(tags::PATIENT_NAME, "Anna^Ivanova")];
    let other: &[_] = &[(tags::PATIENT_NAME, "Petrova^Anna")];
    assert_eq!(follow(&[anna], &seen), clear);
    assert_eq!(follow(&[anna, other], &seen), mixed);
}

#[test]
fn more_headers_than_are_looked_at_are_for_a_person() {
    let headers = [header(&[(tags::ACCESSION_NUMBER, ID)])];
    let binding = Binding {
        order: order(ID),
        seen: headers.to_vec(),
    };
    let mut many = Received {
        has_more_headers: true,
        ..received(&headers)
    };
    let policy = MatchingPolicy::default();
    let reason = reason_of(verdict(&many, &[order(ID)], policy));
    assert_eq!(reason, QueueReason::MixedPatient);
    many.binding = Some(&binding);
    let mixed = flagged(Rule::StudyBound, &[QueueReason::MixedPatient]);
    assert_eq!(verdict(&many, &[], policy), mixed);
    // The time of day alone makes no header another one.
    let at = |day, time| header(&[(tags::STUDY_DATE, day), (tags::STUDY_TIME, time)]);
    assert!(at("20250310", "101500").says_the_same(&at("20250310", "101501")));
    assert!(!at("20250310", "101500").says_the_same(&at("20250311", "101500")));
}

#[test]
fn a_study_that_names_several_patients_waits_for_a_person() {
    let headers = [
        header(&[(tags::ACCESSION_NUMBER, ID)]),
        header(&[(tags::ACCESSION_NUMBER, ID), (tags::PATIENT_ID, "17")]),
        header(&[(tags::ACCESSION_NUMBER, ID), (tags::PATIENT_SEX, "M")]),
    ];
    let policy = MatchingPolicy::default();
    let verdict_of = verdict(&received(&headers[..1]), &[order(ID)], policy);
    assert_eq!(verdict_of, bound(Rule::AccessionNumber));
    let several = [
        header(&[(tags::PATIENT_ID, "17"), (tags::ACCESSION_NUMBER, ID)]),
        header(&[(tags::PATIENT_ID, "18"), (tags::ACCESSION_NUMBER, ID)]),
    ];
    let verdict_of = verdict(&received(&several), &[order(ID)], policy);
    assert_eq!(reason_of(verdict_of), QueueReason::MixedPatient);
    // One that says nothing of its patient speaks for none of the others.
    let silent = header(&[(tags::ACCESSION_NUMBER, ID)]);
    let of_another = header(&[
        (tags::PATIENT_NAME, "Ivanova^Anna"),
        (tags::PATIENT_BIRTH_DATE, "19810203"),
    ]);
    let behind_it = [silent.clone(), of_another];
    let verdict_of = verdict(&received(&behind_it), &[order(ID)], policy);
    assert_eq!(reason_of(verdict_of), QueueReason::Conflict);
    let [one, other] = several;
    let behind_it = [silent, one, other];
    let verdict_of = verdict(&received(&behind_it), &[order(ID)], policy);
    assert_eq!(reason_of(verdict_of), QueueReason::MixedPatient);
    let verdict_of = verdict(&received(&[]), &[order(ID)], policy);
    assert_eq!(reason_of(verdict_of), QueueReason::NoId);
    let versions = Received {
        has_other_version: true,
        ..received(&headers[..1])
    };
    let reason = reason_of(verdict(&versions, &[order(ID)], policy));
    assert_eq!(reason, QueueReason::DuplicateUidDifferentContent);
}

#[test]
fn images_without_an_order_say_where_they_come_from() {
    let headers = [header(&[])];
    let imported = Received {
        origin: Origin::Import(organisation("006")),
        ..received(&headers)
    };
    let reason = reason_of(verdict(&imported, &[], MatchingPolicy::default()));
    assert_eq!(reason, QueueReason::OutsideImport);
    for (tag, text) in [
        (tags::PATIENT_NAME, "UNKNOWN^250310-1015"),
        (tags::PATIENT_NAME, "НЕИЗВЕСТНЫЙ^250310-1015"),
        (tags::PATIENT_NAME, "Неизвестный мужчина"),
        (tags::PATIENT_ID, "T0000005724"),
    ] {
        let verdict = judge(&header(&[(tag, text)]), &[]);
        assert_eq!(
            reason_of(verdict),
            QueueReason::EmergencyUnregistered,
            "{text}"
        );
    }
}

#[test]
fn nothing_of_the_patient_is_shown_by_debug() {
    let header = header(&[(tags::PATIENT_NAME, "CANARY"), (tags::PATIENT_ID, "CANARY")]);
    assert!(!format!("{header:?} {:?}", order(ID)).contains("CANARY"));
    assert!(!format!("{:?}", order(ID)).contains("ZHEEN"));
}

#[test]
fn a_study_that_several_organisations_send_is_bound_by_nobody_and_flagged_where_it_was() {
    let headers = [header(&[(tags::ACCESSION_NUMBER, ID)])];
    let several = Received {
        has_other_senders: true,
        ..received(&headers)
    };
    let found = verdict(&several, &[order(ID)], MatchingPolicy::default());
    let named = vec![(ID.to_owned(), Rule::AccessionNumber)];
    assert_eq!(queued(found), (QueueReason::OtherOrg, named));
    let binding = Binding {
        order: order(ID),
        seen: headers.to_vec(),
    };
    let several = Received {
        binding: Some(&binding),
        ..several
    };
    assert_eq!(
        verdict(&several, &[], MatchingPolicy::default()),
        flagged(Rule::StudyBound, &[QueueReason::OtherOrg])
    );
}

#[test]
fn a_header_is_compared_with_an_order_value_by_value() {
    let candidate = order(ID);
    let right = header(&[
        (tags::PATIENT_ID, "P0000005724"),
        (tags::PATIENT_NAME, "JEENBEKOV^USON^OMURBEKOVICH"),
        (tags::PATIENT_BIRTH_DATE, "19900101"),
        (tags::PATIENT_SEX, "M"),
    ]);
    assert_eq!(differences(&right, &candidate), []);
    assert_eq!(objection(&right, &candidate), None);
    // What is not said is no difference, and an ID in place of the patient's number neither.
    let silent = header(&[(tags::PATIENT_ID, ID)]);
    assert_eq!(differences(&silent, &candidate), []);
    assert_eq!(objection(&silent, &candidate), None);
    let wrong = header(&[
        (tags::MODALITY, "MR"),
        (tags::STUDY_DATE, "20250315"),
        (tags::PATIENT_ID, "P0000000013"),
        (tags::PATIENT_NAME, "IVANOVA^ANNA"),
        (tags::PATIENT_BIRTH_DATE, "19810203"),
        (tags::PATIENT_SEX, "F"),
    ]);
    let all = [
        Difference::BirthDate,
        Difference::Identifier,
        Difference::Kind,
        Difference::Name,
        Difference::Sex,
        Difference::Time,
    ];
    assert_eq!(differences(&wrong, &candidate), all);
    assert_eq!(
        objection(&wrong, &candidate),
        Some(QueueReason::ModalityMismatch)
    );
    let other = header(&[
        (tags::PATIENT_NAME, "IVANOVA^ANNA"),
        (tags::PATIENT_BIRTH_DATE, "19810203"),
    ]);
    assert_eq!(objection(&other, &candidate), Some(QueueReason::Conflict));
}

proptest! {
    /// The rules again, as one would check them by hand, against two orders of different people.
    #[test]
    fn nothing_is_bound_to_another_organisation_or_to_somebody_else(
        accession in prop_oneof![Just(ID), Just(OTHER_ID), Just(""), Just("250060004328")],
        patient_id in prop_oneof![
            Just("P0000005724"), Just("P0000000013"), Just(ID), Just(OTHER_ID), Just("17"),
            Just(""),
        ],
        name in prop_oneof![Just("Jeenbekov^Uson"), Just("Ivanova^Anna"), Just("")],
        birth_date in prop_oneof![Just("19900101"), Just("19810203"), Just("")],
        is_foreign in any::<bool>(),
        policy in prop_oneof![Just(BY_PATIENT), Just(MatchingPolicy::default())],
    ) {
        let headers = [header(&[
            (tags::ACCESSION_NUMBER, accession),
            (tags::PATIENT_ID, patient_id),
            (tags::PATIENT_NAME, name),
            (tags::PATIENT_BIRTH_DATE, birth_date),
        ])];
        let mut of_man = order(ID);
        let mut of_woman = other();
        of_woman.person = Person {
            identifiers: vec![identifier("P0000000013")],
            names: vec!["Иванова^Анна".into()],
            birth_date: "1981-02-03".parse().ok(),
            sex: Some(Sex::Female),
        };
        if is_foreign {
            of_man.organisation = organisation("007");
            of_woman.organisation = organisation("007");
        }
        let verdict = verdict(&received(&headers), &[of_man, of_woman], policy);
        if let Verdict::Bound { examination, .. } = verdict {
            prop_assert!(!is_foreign);
            let is_man = examination == id(ID);
            let (own, others) = if is_man { (ID, OTHER_ID) } else { (OTHER_ID, ID) };
            let (number, family, born) = if is_man {
                ("P0000005724", "Jeenbekov^Uson", "19900101")
            } else {
                ("P0000000013", "Ivanova^Anna", "19810203")
            };
            let foreign_number = if is_man { "P0000000013" } else { "P0000005724" };
            let is_ours = |value: &str, ours: &str| value.is_empty() || value == ours;
            let is_one = (name == family) || (birth_date == born);
            let is_silent = is_ours(name, family) && is_ours(birth_date, born);
            // Named by its ID or its patient's number; and by nothing that fits the other one.
            prop_assert!(accession == own || patient_id == own || patient_id == number);
            prop_assert!(accession != others);
            prop_assert!(patient_id != others || (is_one && is_silent));
            match patient_id {
                "17" => prop_assert!(name == family && birth_date == born),
                id if id == number => {}
                id => prop_assert!(id != foreign_number && (is_one || is_silent)),
            }
        }
    }
}
