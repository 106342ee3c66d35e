"""Texts of many kinds, written for this, of 100 bytes to 20 kB: what the token estimate is held against.

`texts()` is a function of nothing: the same ids, the same texts, on every machine.
"""

from __future__ import annotations

import base64
import json
import string
import uuid
from random import Random

__all__ = ["NATURAL", "texts"]

NATURAL: dict[str, str] = {
    "english": (
        "The river rose in the night, and by the morning the lower road was gone. Nobody had expected it; the forecast "
        "had spoken of showers. Mrs Hollis rang the council twice, was told that somebody would call her back, and then "
        "put on her late husband's boots and walked to the bridge herself. What she saw there she described, years "
        "afterwards, as the end of the village and the beginning of something else that she never found a word for."
    ),
    "english_technical": (
        "The scheduler acquires a lease before dispatching each partition, renews it at a third of its duration, and "
        "relinquishes it on shutdown. Misconfigured hypervisors occasionally exhibit clock regressions; consequently, "
        "monotonic timestamps are compared exclusively within one process. Asynchronous replication introduces "
        "read-your-writes anomalies, which idempotency keys and quorum acknowledgements mitigate but do not eliminate."
    ),
    "english_names": (
        "Among the guests were Siobhan O'Shaughnessy, Krzysztof Wojciechowski, Nguyen Thi Minh Khai, Oluwaseun Adebayo, "
        "Tchaikovsky's great-niece, and a Mr Featherstonehaugh of Worcestershire, who had come by way of Llanfairpwll, "
        "Aberystwyth and Machynlleth with three crates of Gewürztraminer for the Popocatépetl Society's annual dinner."
    ),
    "german": (
        "Die Straßenverkehrsbehörde teilte am Donnerstag mit, dass die Überprüfung der Brückenfundamente frühestens im "
        "übernächsten Frühjahr abgeschlossen sein werde. Bis dahin gelte eine Geschwindigkeitsbegrenzung von dreißig "
        "Stundenkilometern. Anwohner äußerten sich verärgert über die Umleitung durch das Wohngebiet, während der "
        "Einzelhandelsverband Entschädigungszahlungen für Umsatzeinbußen forderte."
    ),
    "french": (
        "L'été dernier, nous avons loué une petite maison près de la rivière, à deux pas d'un village où l'épicerie "
        "n'ouvrait que le matin. Ma sœur s'était levée tôt pour acheter du pain ; elle revint les mains vides, mais avec "
        "une histoire si étonnante que personne ne songea plus au petit-déjeuner. Quant à la voiture, elle ne démarra "
        "jamais plus."
    ),
    "spanish": (
        "Según los vecinos, el ruido comenzó poco después de medianoche y no cesó hasta que alguien, cansado de esperar, "
        "llamó a la policía. ¿Quién habría imaginado que todo aquello lo causaba un frigorífico viejo? La dueña pidió "
        "perdón, ofreció café a los agentes y prometió que mañana mismo compraría otro más silencioso."
    ),
    "portuguese": (
        "A padaria da esquina já não abre aos domingos, o que obrigou a avó a aprender, aos oitenta anos, a fazer pão em "
        "casa. As primeiras tentativas não correram bem; à terceira, porém, o cheiro chegou ao quinto andar e os vizinhos "
        "começaram a bater à porta com as mais variadas desculpas."
    ),
    "polish": (
        "Właścicielka księgarni postanowiła, że wszystkie niesprzedane egzemplarze rozda dzieciom z pobliskiej szkoły. "
        "Przyszło ich jednak tak dużo, że musiała zamknąć drzwi na klucz i wpuszczać po pięcioro. Najmłodszy chłopiec "
        "poprosił o coś cięższego, żeby móc zgnieść nim orzechy."
    ),
    "finnish": (
        "Myöhästynyt juna saapui asemalle vasta iltapäivällä, jolloin odotushuoneessa istui enää kaksi matkustajaa. "
        "Toinen heistä oli nukahtanut sanomalehtensä päälle, toinen kirjoitti kärsivällisesti pöytäkirjaa "
        "yhdistyksensä vuosikokouksesta, jonka osanottajat olivat aikoja sitten lähteneet kotiin."
    ),
    "turkish": (
        "Komşumuzun bahçesindeki yaşlı incir ağacı geçen kış fırtınada devrildi. Belediyeden gelen görevliler kökünü "
        "çıkaramayınca, üzerine küçük bir oturma yeri yaptılar; şimdi akşamüstü çay içmek isteyenler sırayla orada "
        "buluşuyor ve eskiden kimin ne kadar incir çaldığını konuşuyorlar."
    ),
    "vietnamese": (
        "Buổi sáng hôm ấy, bà cụ bán xôi ở đầu ngõ không dọn hàng như thường lệ. Người trong xóm lo lắng hỏi nhau, rồi "
        "rủ nhau đến gõ cửa. Bà mở cửa, cười và bảo rằng hôm nay bà nghỉ, vì đứa cháu gái vừa thi đỗ đại học và cả nhà "
        "sắp kéo nhau đi chụp ảnh kỷ niệm."
    ),
    "indonesian": (
        "Setelah hujan berhenti, anak-anak berlarian ke lapangan untuk menerbangkan layang-layang yang mereka buat "
        "sendiri dari kertas bekas. Angin ternyata terlalu kencang, sehingga hampir semuanya tersangkut di pohon mangga "
        "milik kepala desa, yang kemudian mempersilakan mereka memanjat asalkan membawa pulang buahnya."
    ),
    "russian": (
        "Утром выяснилось, что ключи от мастерской остались у сторожа, а сторож уехал к дочери в другой город. Пришлось "
        "ждать слесаря. Пока он возился с замком, мы успели выпить две чашки чая, поссориться из-за политики и "
        "помириться, вспомнив, как в прошлом году потеряли не ключи, а саму дверь."
    ),
    "ukrainian": (
        "Їхній автобус зламався біля підніжжя гори, і пасажири розійшлися шукати тінь. Хтось дістав яблука, хтось почав "
        "розповідати про свій перший ґанок, який він збудував ще школярем. Коли приїхав механік, ніхто вже нікуди не "
        "поспішав."
    ),
    "greek": (
        "Ο ψαράς γύρισε το μεσημέρι με άδεια δίχτυα, αλλά χαμογελούσε. Είχε δει, έλεγε, ένα δελφίνι να παίζει με το "
        "σκοινί της βάρκας του τόση ώρα, που ξέχασε γιατί είχε βγει στη θάλασσα. Η γυναίκα του τον άκουσε, άναψε τη "
        "φωτιά και έβαλε να βράσουν φακές."
    ),
    "hebrew": (
        "השכנה מהקומה השלישית החליטה לגדל עגבניות על הגג, ומאז כל הבניין עולה ויורד במדרגות עם דליי מים. ועד הבית "
        "התכנס פעמיים, לא הצליח להסכים על דבר, ובסוף קנה צינור ארוך וגם כיסא נוח למי שמשקה."
    ),
    "arabic": (
        "وصل القطار متأخرًا ثلاث ساعات، ولم يعتذر أحد. جلست امرأة عجوز على حقيبتها وراحت تحكي للأطفال عن المدينة كما "
        "كانت قبل أن تُبنى المحطة، حين كان الناس يسافرون على ظهور الدواب ويتركون الوقت يمشي وحده. وحين صفر القطار أخيرًا "
        "لم يرغب أيٌّ منهم في الصعود."
    ),
    "persian": (
        "پدربزرگ هر روز عصر صندلی چوبی‌اش را کنار پنجره می‌گذاشت و پرنده‌ها را می‌شمرد. می‌گفت اگر تعدادشان از دوازده بیشتر "
        "شود، باران خواهد آمد. هیچ‌وقت درست نمی‌گفت، اما ما همیشه چترهایمان را برمی‌داشتیم."
    ),
    "hindi": (
        "गाँव के पुराने कुएँ के पास एक बरगद था, जिसके नीचे शाम को सब लोग इकट्ठा होते थे। कोई खेती की बात करता, कोई शहर गए बेटे "
        "की चिट्ठी पढ़कर सुनाता। जब बिजली आई तो लोग घरों में रहने लगे, और बरगद के नीचे सिर्फ़ बकरियाँ बैठने लगीं।"
    ),
    "bengali": (
        "বৃষ্টি থামার পর ছেলেটি উঠোনে নেমে কাগজের নৌকা ভাসাল। নৌকাটি নালা বেয়ে রাস্তায়, রাস্তা থেকে পুকুরে গিয়ে পড়ল। "
        "ঠাকুমা বললেন, ওটা এবার সমুদ্রে যাবে; ছেলেটি সারা রাত সমুদ্রের স্বপ্ন দেখল।"
    ),
    "tamil": (
        "மழை நின்ற பிறகு சிறுவன் முற்றத்தில் இறங்கி காகிதக் கப்பலை மிதக்க விட்டான். அது கால்வாய் வழியாகச் சென்று குளத்தில் "
        "சேர்ந்தது. பாட்டி சிரித்துக்கொண்டே, இனி அது கடலுக்குப் போய்விடும் என்றாள்."
    ),
    "thai": (
        "เช้าวันนั้นฝนตกหนักจนถนนหน้าบ้านกลายเป็นคลอง เด็กๆ ไม่ต้องไปโรงเรียนจึงพากันต่อเรือจากกล่องกระดาษ ส่วนคุณยายนั่งหัวเราะอยู่ที่ระเบียง "
        "และเล่าว่าสมัยก่อนทุกบ้านมีเรือจริงๆ ไม่มีใครกลัวน้ำ เพราะน้ำพาแม่ค้าขายก๋วยเตี๋ยวมาถึงหน้าประตู"
    ),
    "khmer": "ព្រឹកនេះមេឃភ្លៀងខ្លាំង ផ្លូវមុខផ្ទះក្លាយជាប្រឡាយ។ ក្មេងៗមិនបាច់ទៅសាលាទេ ដូច្នេះពួកគេធ្វើទូកពីក្រដាស ហើយជីដូនអង្គុយសើចនៅលើរានហាល។",
    "burmese": "မိုးတိတ်သွားသောအခါ ကလေးများ ကွင်းပြင်သို့ ပြေးထွက်ကြသည်။ စက္ကူလှေလေးများကို မြောင်းထဲတွင် လွှတ်၍ ကစားကြသည်။",
    "georgian": "ძველი ხიდი წყალდიდობამ წაიღო და სოფელი ორ ნაწილად გაიყო. ახლა მეზობლები ერთმანეთს ნაპირიდან ეძახიან და ყველას ესმის ყველაფერი.",
    "amharic": "ዝናቡ ካቆመ በኋላ ልጆቹ ወደ ሜዳው ሮጡ። ከወረቀት የሠሩትን ጀልባ በጅረቱ ላይ ለቀቁት፤ አያታቸውም እየሳቁ ተመለከቱ።",
    "chinese": (
        "那天夜里河水涨了起来，到早晨，下面的路已经不见了。谁也没有料到；天气预报只说有阵雨。霍太太给镇政府打了两次电话，"
        "对方说会有人回复她，于是她穿上亡夫的靴子，自己走到桥边去看。多年以后，她说起那天看到的情景，仍然找不到合适的词语。"
        "村里的年轻人后来大多搬走了，留下来的人把房子建在了山坡上，并且约定每年秋天一起修一次堤坝。"
    ),
    "chinese_traditional": (
        "圖書館的舊書要搬到新館去，志工們排成一條長龍，一本一本地傳遞。有位老先生堅持要把自己捐贈的那套辭典親手抱過去，"
        "半路上卻坐在台階上讀了起來，讀到黃昏，誰也不忍心催他。"
    ),
    "chinese_classical": "昔者莊周夢為蝴蝶，栩栩然蝴蝶也，自喻適志與，不知周也。俄然覺，則蘧蘧然周也。饕餮鼙鼓，巉巖嶙峋，氤氳繚繞，魑魅魍魎。",
    "japanese": (
        "昨夜の大雨で川の水かさが増し、朝になると下の道はすっかり消えていた。天気予報ではにわか雨としか言っていなかったので、"
        "誰も準備をしていなかった。おばあさんは役場に二度電話をかけたが、折り返しの連絡はなく、仕方なく長靴をはいて橋まで歩いていった。"
        "コンビニのスタッフやボランティアのグループがテントとストーブを用意してくれたおかげで、みんな温かいスープを飲むことができた。"
    ),
    "korean": (
        "간밤에 내린 비로 강물이 불어나 아침이 되자 아랫길이 사라져 버렸다. 일기예보에서는 소나기가 온다고만 했기 때문에 아무도 대비하지 "
        "못했다. 할머니는 면사무소에 두 번 전화를 걸었지만 연락이 없자, 돌아가신 할아버지의 장화를 신고 직접 다리까지 걸어가 보았다."
    ),
    "emoji": (
        "Great news everyone 🎉🎉 the release is out 🚀✨ thanks to the whole team 🙏🏽👩‍💻👨‍👩‍👧‍👦 see you tonight 🍕🍻🥳 "
        "weather: ☀️🌧️⛈️❄️ flags: 🇫🇷🇯🇵🇧🇷🇰🇷🇩🇪 hearts: ❤️🧡💛💚💙💜🖤 hands: 👍🏿👎🏻✌🏼🤞🏾 faces: 😀😂🥲😭🤯🫠🫡"
    ),
    "mathematics": (
        "∀ε>0 ∃δ>0: |x−a|<δ ⇒ |f(x)−f(a)|<ε. ∑ᵢ₌₁ⁿ i² = n(n+1)(2n+1)∕6, ∫₀^∞ e^{−x²}dx = √π∕2, "
        "A ⊆ B ⟺ A ∩ B = A; ℝ ⊂ ℂ, ‖x+y‖ ≤ ‖x‖+‖y‖, x ≡ y (mod 7), α ∧ ¬β ⊢ γ ∨ δ, \\frac{\\partial u}{\\partial t}=\\nabla^2 u"
    ),
    "box_drawing": (
        "┌──────────┬─────────┐\n│ name     │   cost  │\n├──────────┼─────────┤\n│ draft    │  $0.012 │\n│ review   │  $1.500 │\n"
        "╞══════════╪═════════╡\n│ total ▓▒░│  $1.512 │\n└──────────┴─────────┘\n ├── src\n │   ├── core\n │   └── llm\n └── tests → ✓ ✗ • ★\n"
    ),
    "python": (
        'from __future__ import annotations\n\n\nclass RingBuffer(Generic[T]):\n    """Keep the newest `size` items."""\n\n'
        '    def __init__(self, size: int) -> None:\n        if size <= 0:\n            raise ValueError(f"expected size > 0, got {size!r}")\n'
        "        self._items: list[T | None] = [None] * size\n        self._next = 0\n\n    def push(self, item: T) -> T | None:\n"
        "        evicted, self._items[self._next] = self._items[self._next], item\n        self._next = (self._next + 1) % len(self._items)\n"
        "        return evicted\n\n    async def drain(self, *, until: Callable[[], bool] = lambda: False) -> AsyncIterator[T]:\n"
        "        while not until():\n            for i in range(0x10, -1, -1):\n                yield self._items[i & 0xFF]  # type: ignore[misc]\n"
    ),
    "typescript": (
        "export const useDebouncedCallback = <A extends unknown[]>(fn: (...args: A) => void, delayMs = 250) => {\n"
        "  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);\n  useEffect(() => () => { if (timer.current) clearTimeout(timer.current); }, []);\n"
        "  return useCallback((...args: A) => {\n    if (timer.current !== null) clearTimeout(timer.current);\n"
        "    timer.current = setTimeout(() => fn(...args), delayMs);\n  }, [fn, delayMs]);\n};\n"
        "type DeepPartial<T> = { [K in keyof T]?: T[K] extends object ? DeepPartial<T[K]> : T[K] };\n"
    ),
    "rust": (
        "impl<'a, K: Hash + Eq, V> Entry<'a, K, V> {\n    pub fn or_insert_with<F: FnOnce() -> V>(self, default: F) -> &'a mut V {\n"
        "        match self {\n            Entry::Occupied(e) => e.into_mut(),\n            Entry::Vacant(e) => e.insert(default()),\n        }\n    }\n}\n\n"
        "#[derive(Debug, Clone, PartialEq, Eq)]\n#[repr(u8)]\nenum Op { Nop = 0x00, Push(i64), Add, Mul, Jmp(usize), Halt = 0xff }\n\n"
        'fn main() -> Result<(), Box<dyn std::error::Error>> {\n    let n: u64 = std::env::args().nth(1).ok_or("usage")?.parse()?;\n'
        '    println!("{:>10} {:#018x}", n, n.rotate_left(13) ^ 0x9E37_79B9_7F4A_7C15);\n    Ok(())\n}\n'
    ),
    "c": (
        "#include <stdint.h>\n#define ROTL(x,k) (((x)<<(k))|((x)>>(64-(k))))\nstatic inline uint64_t next(uint64_t s[4]){\n"
        "\tconst uint64_t r=ROTL(s[1]*5,7)*9,t=s[1]<<17;\n\ts[2]^=s[0];s[3]^=s[1];s[1]^=s[2];s[0]^=s[3];s[2]^=t;s[3]=ROTL(s[3],45);\n\treturn r;\n}\n"
        "int main(int argc,char**argv){uint64_t s[4]={0x180ec6d33cfd0abaULL,0xd5a61266f0c9392cULL,0xa9582618e03fc9aaULL,0x39abdc4529b1661cULL};\n"
        "\tfor(int i=0;i<16;i++)printf(\"%016llx%c\",(unsigned long long)next(s),i%4==3?'\\n':' ');\n\treturn 0;\n}\n"
    ),
    "sql": (
        "WITH ranked AS (\n  SELECT o.customer_id, o.total_cents, o.placed_at,\n         ROW_NUMBER() OVER (PARTITION BY o.customer_id ORDER BY o.placed_at DESC) AS rn\n"
        "  FROM orders o JOIN customers c ON c.id = o.customer_id\n  WHERE o.status IN ('paid','shipped') AND c.deleted_at IS NULL\n)\n"
        "SELECT customer_id, COALESCE(SUM(total_cents) FILTER (WHERE rn <= 3), 0)::numeric / 100 AS last_three\nFROM ranked GROUP BY 1 HAVING COUNT(*) > 1 ORDER BY 2 DESC NULLS LAST LIMIT 50;\n"
    ),
    "shell": (
        '#!/usr/bin/env bash\nset -euo pipefail\nfor f in "$@"; do\n  [[ -f $f ]] || { echo "skip: $f" >&2; continue; }\n'
        '  sha=$(sha256sum "$f" | cut -d\' \' -f1); sz=$(stat -c%s "$f")\n  printf \'%s\\t%d\\t%s\\n\' "$sha" "$sz" "${f##*/}" | tee -a "${OUT:-/tmp/x.$$}" >/dev/null\n'
        "done\ngrep -RInE --include='*.py' '^\\s*(def|class) [A-Z_]+' src/ | awk -F: '{c[$1]++} END{for(k in c) print c[k], k}' | sort -rn | head -n20\n"
    ),
    "minified": (
        '!function(e,t){"object"==typeof exports&&"undefined"!=typeof module?module.exports=t():(e=e||self).Q=t()}(this,function(){"use strict";'
        "var e=1e3,t=6e4,n=/^(\\d{4})[-/]?(\\d{1,2})?[-/]?(\\d{0,2})$/;return function(r,i){for(var o=[],a=0;a<r.length;a++)o[a]=r.charCodeAt(a)^i[a%i.length];return o}});"
    ),
    "html": (
        '<!doctype html><html lang=en><meta charset=utf-8><title>T</title><link rel=stylesheet href=/a.css?v=3f9c><body class="bg-white dark:bg-gray-900 px-4 py-2">'
        '<div id="app"><ul class="nav"><li><a href="#x" onclick="go(1)">One&nbsp;&raquo;</a></li><li><a href="/p/42?utm_source=mail&amp;q=%E2%9C%93">Two</a></li></ul>'
        '<svg viewBox="0 0 24 24"><path d="M12 2C6.48 2 2 6.48 2 12s4.48 10 10 10 10-4.48 10-10S17.52 2 12 2zm0 18c-4.41 0-8-3.59-8-8z"/></svg></div>'
    ),
    "json": json.dumps(
        [
            {
                "id": 48211,
                "sku": "AB-9917/X",
                "price": 1299.5,
                "tags": ["new", "sale", None],
                "stock": {"EU": 12, "US": 0},
                "dims": [12.75, 3.125, 0.5],
                "ean": "4006381333931",
                "ok": True,
                "updated_at": "2026-03-14T09:26:53.589Z",
            },
            {
                "id": 48212,
                "sku": "ZZ-0001/Q",
                "price": 0.99,
                "tags": [],
                "note": 'fragile \u2013 "this side up"\n',
                "ref": "../img/7f3a.png",
            },
        ]
    ),
    "json_indented": json.dumps(
        {
            "matrix": [[1, 0, -1], [2.5, 3e-7, 4]],
            "user": {"first_name": "Ada", "roles": ["admin", "ops"], "active": False},
        },
        indent=4,
    ),
    "json_escaped": json.dumps({"text": "Пример текста, 漢字かな交じり文, العربية", "more": "naïve café – “quoted”"}),
    "yaml": (
        'name: research\ninputs: {question: string, sources: {type: file}}\nactivities:\n  split: {use: text_split, with: {file: "{{ INPUT.sources }}", size: 1200}}\n'
        '  ask:\n    use: llm_prompt\n    for_each: "{{ split.parts }}"\n    retry: {attempts: 3, backoff: 2.0}\n    with: {model: [openai/gpt-4o-mini, anthropic/claude-haiku-4-5], max_tokens: 300}\n'
    ),
    "log_lines": (
        "2026-11-29T10:14:29.118273Z INFO  [worker-7] gate: call_settled run=x6f91zts2vhycy0hy52s place=ask[17] cost=0.000418 usd in=1412 out=96 (p99=812ms)\n"
        "2026-11-29T10:14:29.120001Z WARN  [worker-2] http: 10.0.3.17:44310 -> 203.0.113.9:443 429 Too Many Requests retry-after=2.5 trace=0af7651916cd43dd8448eb211c80319c\n"
        "E1129 10:14:29.131 4711 main.cc:214] Check failed: status.ok() INTERNAL: 0x7ffd5e8c2a10 <nil> (errno=104)\n"
    ),
    "csv": (
        "date,open,high,low,close,volume\n2026-01-02,187.15,188.44,183.89,185.64,82488700\n2026-01-03,184.22,185.88,183.43,184.25,58414500\n"
        "2026-01-04,182.15,183.09,180.88,181.91,71983600\n2026-01-05,181.99,182.76,180.17,181.18,62303300\n"
    ),
    "urls": (
        "https://example.com/a/b/c?x=1&y=%20%2F&token=eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U "
        "s3://bucket-prod-eu/2026/11/29/part-00017-3f2c.snappy.parquet ws://[2001:db8::ff00:42:8329]:8080/chat mailto:a.b+c@sub.example.co.uk\n"
    ),
    "markdown": (
        "## Results\n\n| model | calls | cost |\n| :--- | ---: | ---: |\n| `gpt-4o` | 1,204 | **$3.18** |\n| `haiku` | 98 | $0.07 |\n\n"
        "1. First, *emphasis*; then [a link](https://example.org/x_y#z).\n   - [x] done\n   - [ ] not done\n\n> Quote with `code` and ~~strike~~.\n\n```py\nprint('x' * 3)\n```\n---\n"
    ),
    "whitespace": "a\n\n\n\n\tb\r\n\r\n        c            d\t\t\t\te\n"
    + " " * 37
    + "f\n"
    + "\n" * 9
    + "\t" * 11
    + "g \u00a0\u2003 h\n",
}
"""A sample of each kind, as people and programs write it."""
LENGTHS = (100, 600, 4_000, 20_000)
"""In bytes, about: what the samples are cut and strung together to."""


def texts() -> dict[str, str]:
    """Return every text by its id: each sample as it is, at four lengths, and what chance makes."""
    found = {f"{kind}/sample": text for kind, text in NATURAL.items()}
    for kind, sample in NATURAL.items():
        found |= {f"{kind}/{length}": _of_length(sample, length, Random(f"{kind} {length}")) for length in LENGTHS}
    for kind in ("base64", "hex", "uuids", "numbers", "letters", "words", "punctuation", "ascii", "rare_script"):
        found |= {f"{kind}/{length}": _by_chance(kind, length, Random(f"{kind} {length}")) for length in LENGTHS}
    for number in range(20):
        found[f"mixed/{number}"] = _mixed(Random(f"mixed {number}"))
    return found


def _of_length(sample: str, length: int, random: Random) -> str:
    """Return parts of the sample in another order, until they are so long: repeating it whole would be no other text."""
    words = sample.split(" ") if sample.count(" ") > 5 else list(sample)
    joint = " " if sample.count(" ") > 5 else ""
    pieces: list[str] = []
    size = 0
    while size < length:
        begin = random.randrange(len(words))
        part = joint.join(words[begin : begin + random.randint(4, 24)])
        pieces.append(part)
        size += len(part.encode()) + len(joint)
    return joint.join(pieces).encode()[:length].decode(errors="ignore")


def _by_chance(kind: str, length: int, random: Random) -> str:
    if kind == "base64":
        return base64.b64encode(random.randbytes(length * 3 // 4)).decode()
    if kind == "hex":
        return random.randbytes(length // 2).hex()
    if kind == "uuids":
        return "\n".join(str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(length // 37 + 1))
    if kind == "numbers":
        return " ".join(str(random.randint(0, 10 ** random.randint(1, 12))) for _ in range(length // 7 + 1))
    if kind == "words":
        return " ".join(_word(random) for _ in range(length // 7 + 1))
    if kind == "rare_script":
        first = random.choice(
            [0x0E81, 0x0F40, 0x1200, 0x13A0, 0x1820, 0x3400, 0xAC00, 0x10330, 0x1D400, 0x20000, 0x2200]
        )
        return "".join(chr(first + random.randrange(0x20)) for _ in range(length // 3))
    letters = {"letters": string.ascii_letters, "punctuation": string.punctuation}.get(kind, string.printable[:95])
    return "".join(random.choice(letters) for _ in range(length))


def _word(random: Random) -> str:
    return "".join(random.choice(string.ascii_lowercase) for _ in range(random.randint(1, 10)))


def _mixed(random: Random) -> str:
    """Return a prompt as they come: pieces of several kinds behind one another."""
    kinds = random.choices(list(NATURAL), k=random.randint(2, 6))
    return "\n\n".join(_of_length(NATURAL[kind], random.randint(50, 1_500), random) for kind in kinds)
