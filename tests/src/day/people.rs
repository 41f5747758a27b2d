//! People who do not exist: names, dates of birth, papers.

use crate::samples::Random;

/// What somebody shows at the desk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Papers {
    /// A PIN.
    Pin(String),
    /// A foreign document.
    Document(String),
    /// Nothing, such as a newborn child.
    Nothing,
    /// Nobody knows who they are.
    Unknown,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Family name.
    pub family: String,
    /// Given name.
    pub given: String,
    /// Patronymic; may be empty.
    pub patronymic: String,
    /// Date of birth, such as `1960-01-31`.
    pub birth_date: String,
    /// Whether they are a woman.
    pub is_woman: bool,
    /// What they show.
    pub papers: Papers,
}

const FAMILIES: [&str; 28] = [
    "Жээнбеков",
    "Осмонов",
    "Токтогулов",
    "Бейшеналиев",
    "Мамытов",
    "Исаков",
    "Сыдыков",
    "Алиев",
    "Абдыкадыров",
    "Турдукулов",
    "Кожомкулов",
    "Дүйшөнов",
    "Эшимов",
    "Чокоев",
    "Ыбраев",
    "Орозбеков",
    "Өмүров",
    "Жумабеков",
    "Кадыров",
    "Төрөев",
    "Шаршенов",
    "Щербаков",
    "Фёдоров",
    "Объедков",
    "Цыганов",
    "Хамраев",
    "Юсупов",
    "Яковлев",
];

const MEN: [&str; 14] = [
    "Үсөн",
    "Чыңгыз",
    "Бакыт",
    "Нурлан",
    "Азамат",
    "Эркин",
    "Талант",
    "Айбек",
    "Канат",
    "Мирлан",
    "Юрий",
    "Алексей",
    "Фёдор",
    "Дөөлөт",
];

const WOMEN: [&str; 14] = [
    "Айгүл",
    "Жылдыз",
    "Гүлнара",
    "Чолпон",
    "Назгүл",
    "Бермет",
    "Нурзат",
    "Юлия",
    "Ирина",
    "Бегимай",
    "Зууракан",
    "Ээркайым",
    "Мээрим",
    "Ольга",
];

const FATHERS: [&str; 8] = [
    "Өмүрбек",
    "Асанбек",
    "Жумабек",
    "Төлөгөн",
    "Султан",
    "Ыбрай",
    "Эсен",
    "Бообек",
];

/// Family names and the countries of their documents.
const FOREIGNERS: [(&str, &str); 5] = [
    ("Karimov", "UZB"),
    ("Rakhimov", "TJK"),
    ("Smagulov", "KAZ"),
    ("Wang", "CHN"),
    ("Mueller", "DEU"),
];

fn one_of<'l>(random: &mut Random, list: &[&'l str]) -> &'l str {
    list[below(random, list.len())]
}

/// A number below `bound`.
pub fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).expect("an index")
}

fn birth_date(random: &mut Random) -> String {
    let year = 1935 + random.below(85);
    let (month, day) = (1 + random.below(12), 1 + random.below(28));
    format!("{year:04}-{month:02}-{day:02}")
}

impl Person {
    /// The `number`th person, of whom no two have the same papers.
    #[must_use]
    pub fn new(random: &mut Random, number: u32) -> Self {
        let is_woman = random.below(2) == 1;
        let birth_date = birth_date(random);
        let papers = match random.below(100) {
            0..86 => Papers::Pin(pin(&birth_date, is_woman, number)),
            86..94 => Papers::Document(String::new()),
            94..98 => Papers::Nothing,
            _ => Papers::Unknown,
        };
        let given = one_of(random, if is_woman { &WOMEN } else { &MEN }).to_owned();
        let mut person = Self {
            family: one_of(random, &FAMILIES).to_owned(),
            patronymic: one_of(random, &FATHERS).to_owned(),
            given,
            birth_date,
            is_woman,
            papers,
        };
        if is_woman {
            person.family.push('а');
            person.patronymic.push_str("овна");
        } else {
            person.patronymic.push_str("ович");
        }
        if matches!(person.papers, Papers::Document(_)) {
            let (family, country) = FOREIGNERS[below(random, FOREIGNERS.len())];
            person.papers = Papers::Document(format!("{country}-AB{number:07}"));
            family.clone_into(&mut person.family);
            person.given = if is_woman { "Anna" } else { "Timur" }.to_owned();
            person.patronymic.clear();
        } else if random.below(12) == 0 {
            // As names are formed without a patronymic.
            let child = if is_woman { "кызы" } else { "уулу" };
            person.family = format!("{} {child}", one_of(random, &FATHERS));
            person.patronymic.clear();
        }
        person
    }

    /// Somebody of the same family, father and sex, of another given name and age.
    #[must_use]
    pub fn sibling(&self, random: &mut Random, number: u32) -> Self {
        let names: &[&str] = if self.is_woman { &WOMEN } else { &MEN };
        let own = names.iter().position(|name| *name == self.given);
        let step = 1 + below(random, names.len() - 1);
        let given = names[(own.unwrap_or(0) + step) % names.len()];
        let mut birth_date = birth_date(random);
        while birth_date == self.birth_date {
            birth_date = self::birth_date(random);
        }
        Self {
            given: given.to_owned(),
            papers: Papers::Pin(pin(&birth_date, self.is_woman, number)),
            birth_date,
            ..self.clone()
        }
    }

    /// Whether two have nothing in common that a console shows.
    #[must_use]
    pub fn is_stranger_to(&self, other: &Self) -> bool {
        self.family != other.family && self.birth_date != other.birth_date
    }

    /// Whether it is known who they are.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.papers != Papers::Unknown
    }
}

/// A PIN that nobody else here has.
fn pin(birth_date: &str, is_woman: bool, number: u32) -> String {
    let mut parts = birth_date.split('-');
    let mut part = || parts.next().expect("three parts");
    let (year, month, day) = (part(), part(), part());
    let sex = if is_woman { 1 } else { 2 };
    format!("{sex}{day}{month}{year}{:05}", 90_000 + number % 10_000)
}
