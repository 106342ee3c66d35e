"""The signs by which an attempt to give a model orders shows, by family, each with its weight.

A sign is looked for only where one of its words stands in the text, so most texts cost few looks (`sign_words`).
Texts come in small letters (see `injection.as_read`). Every gap in a pattern is bounded.

There were more families: another self, secrecy, what to say, what to do. Texts by other authors that only looked like
attempts showed them as often as attempts did, so they went; what they saw is learnt (`injection_words`).
"""

from __future__ import annotations

from headgate.policies.quick_patterns import quick
from headgate.policies.sign_words import Sign, SignWords

__all__ = ["ABOUT", "SIGNS", "SIGN_WORDS"]

AI = (
    r"(?:ais?|a\.i\.|llms?|(?:language|reviewer|ai|nlp) (?:models?|systems?)|models?|assistants?|chat ?bots?|bots?|copilots?|gpt|chatgpt|claude|gemini|"
    r"(?:coding|shopping|ai|browsing|mail|your|the|any|automated|autonomous) agents?|agents?|summari[sz]ers?|(?:screening|review|ranking) (?:software|tools?|systems?)|"
    r"automated (?:reviewers?|readers?|systems?|assistants?|answers?)|crawlers?|translator|neural net\w*)"
)
SURELY_AI = (
    r"(?:ais?|llms?|(?:language|reviewer|ai) (?:models?|systems?)|assistants?|chat ?bots?|bots?|copilots?|gpt|chatgpt|claude|gemini|"
    r"(?:coding|shopping|ai|browsing|mail|your|automated|autonomous) agents?|summari[sz]ers?|(?:screening|review|ranking) (?:software|tools?)|"
    r"automated (?:reviewers?|readers?|systems?|assistants?)|translator|neural net\w*)"
)
RULES = (
    r"(?:instructions?|rules?|guidelines?|guidance|directions?|directives?|prompts?|polic(?:y|ies)|restrictions?|limitations?|orders|commands?|"
    r"programming|configuration|preamble|constraints?|safeguards?|filters?|training|system messages?|briefing|task|question|rubric)"
)
PRIOR = (
    r"(?:previous|prior|above|earlier|preceding|former|initial|original|existing|current|all|any|every|your|the|its|their|system|developer'?s?|"
    r"operator'?s?|hidden|what|whatever|everything|those|these)"
)
GAP = r"[^.!?\n]{0,40}?"
WIDE = r"[^!?\n]{0,90}?"


ABOUT = quick(
    r"injections?\b|jailbreaks?\b|pen ?test|detectors?\b|false (?:alarms?|positives?)|red.team|threat|attack(?:s|er|ers|ed)?\b|"
    r"exploits?\b|vulnerab|phishing|owasp|guardrails?\b|block ?lists?\b|researchers?\b|mitigation|tokeni[sz]er|tokens?\b|"
    r"(?:the|this|our|a) (?:paper|study|article|blog|talk|chapter|lesson|course|workshop)\b|such as \W|classic\b|pattern|regex|"
    r"a (?:line|phrase|sentence|prompt|text) (?:such as|like)|phrases? like|called|for example|how to spot|works by|template|"
    r"assert\b|def test|test\(|true_positives|def \w+\(|does it|is it\b|how (?:do|can|may|long)|why (?:do|does|it)"
)
"""What texts about attacks say, and code that guards against them."""

AI_WORDS = frozenset(
    {
        *(
            "ai",
            "ais",
            "llm",
            "llms",
            "model",
            "models",
            "assistant",
            "assistants",
            "chatbot",
            "chatbots",
            "bot",
            "bots",
            "copilot",
        ),
        *(
            "copilots",
            "gpt",
            "chatgpt",
            "claude",
            "gemini",
            "agent",
            "agents",
            "summariser",
            "summarizer",
            "summarisers",
            "chat",
        ),
        *(
            "summarizers",
            "software",
            "tool",
            "tools",
            "system",
            "systems",
            "reviewer",
            "reviewers",
            "reader",
            "readers",
        ),
        *("answer", "answers", "crawler", "crawlers", "translator", "neural"),
    }
)


def _sign(family: str, weight: float, words: str, pattern: str, *, begins: bool = False) -> Sign:
    spaced = [word.replace("_", " ").strip() if word != "_" else word for word in words.split()]
    return Sign(family, weight, tuple(spaced), "assistants?|" in pattern, quick(pattern), begins)


SIGNS = (
    # --- Orders are taken back ---
    _sign(
        "override",
        0.42,
        "ignor disregard forget overrid bypass neglect set_aside leave_aside pay_no drop abandon stop_follow discard",
        rf"\b(?:ignore|ignoring|disregard|forget|override|bypass|neglect|set aside|leave aside|pay no attention to|drop|abandon|stop following|discard)\b"
        rf"{GAP}\b{PRIOR} (?:\w+ ){{0,3}}{RULES}\b",
    ),
    _sign(
        "override",
        0.6,
        "ignor disregard forget overrid bypass neglect set_aside abandon stop_following discard",
        r"\b(?:ignore|ignoring|disregard|forget|override|bypass|neglect|set aside|abandon|stop following|discard)\b[^.!?\n]{0,40}?"
        r"(?:\b(?:your|system|developer'?s?|operator'?s?|its)\b (?:\w+ ){0,3}(?:instructions?|rules?|guidelines?|guidance|prompts?|polic(?:y|ies)|restrictions?|training|messages?|rubric|directions)|"
        r"\b(?:system prompt|safeguards|programming|previous instructions|prior instructions|above instructions|earlier instructions|instructions above)\b)",
    ),
    _sign(
        "override",
        0.55,
        "forget disregard ignor",
        r"\b(?:forget|disregard|ignore)\b (?:\w+ ){0,2}(?:everything|all|anything|what(?:ever)?) (?:that )?(?:\w+ ){0,3}(?:you (?:were|have been|are|had)|you've|told|said|wrote|above|came before|read)",
    ),
    _sign(
        "override",
        0.5,
        "no_longer not_apply don't_apply void lifted suspended superseded suggestions was_a_test is_over",
        rf"\b(?:your|the) (?:\w+ ){{0,2}}{RULES} (?:\w+ ){{0,3}}(?:no longer|do(?:es)? not|don't|are (?:now )?(?:void|lifted|suspended|superseded|suggestions)|have been|has been|was a test|is over|is (?:now )?(?:void|lifted))",
    ),
    _sign(
        "override",
        0.35,
        "supersed precedence take_priority outrank only_valid instead_of replac",
        rf"(?:supersed\w+|takes? (?:precedence|priority) over|outranks?|only valid) {GAP}(?:instruction|prompt|rule|guidance|system|polic)",
    ),
    _sign(
        "override",
        0.35,
        "from_now_on from_this_point from_here_on henceforth",
        r"(?:from now on|from this point(?: on)?|from here on|henceforth)\W{1,3}(?:\w+ ){0,2}(?:you|every answer|the assistant|the ass\b|generate|your)\b",
    ),
    _sign(
        "override",
        0.3,
        "new_task new_instruction real_task real_job new_system actual_task new_role",
        r"(?:new|real|actual|true) (?:task|instructions?|job|system prompt|role|objective|orders?)\b",
    ),
    # --- The prompt is asked for ---
    _sign(
        "leak",
        0.6,
        "prompt instruction rules guideline system_message preamble rubric directions told_",
        r"\b(?:reveal|show|print|repeat|output|display|disclose|recite|quote|publish|write out|write down|tell|give|list|leak|expose|paste|share|copy|translat\w+|dump)\w*\b"
        rf"{GAP}\b(?:system (?:prompt|message|instructions?)|(?:hidden|initial|secret|original|full|confidential|operating|internal) (?:prompt|instructions?|preamble|message|rules|text)|your (?:\w+ ){{0,2}}(?:prompt|preamble|system)|(?:its|own|the) (?:\w+ ){{0,2}}(?:evaluation rubric|instructions? (?:in full|verbatim)|rules you were given))",
    ),
    _sign(
        "leak",
        0.4,
        "reveal print_ repeat recite quote write_out leak paste disclose rules_you show_your list_your output_",
        r"\b(?:reveal|print|repeat|output|disclose|recite|quote|write out|leak|paste|show|list)\b[^.!?\n]{0,40}?\byour (?:\w+ ){0,2}(?:instructions|rules|guidelines|configuration|rubric)|"
        r"the rules you were given",
    ),
    _sign(
        "leak",
        0.55,
        "you_told were_told your_instructions your_rules your_prompt in_your your_system",
        r"\b(?:what|which) (?:\w+ ){0,4}(?:were|are|was|is) (?:\w+ ){0,4}(?:your (?:instructions|rules|prompt|system)|you told|in your (?:prompt|instructions))",
    ),
    _sign(
        "leak",
        0.5,
        "verbatim word_for_word exact_words original_wording do_not_paraphrase",
        r"(?:instructions?|prompt|rubric|wording|words|told|rules)\W[^\n]{0,60}(?:verbatim|word for word|exact words|original wording|do not paraphrase)|(?:verbatim|word for word|exact words of|original wording)[^\n]{0,60}(?:instructions?|prompt|rubric|rules)",
    ),
    _sign(
        "leak",
        0.5,
        "system_prompt system.prompt",
        r"(?:cat|get|read|open|dump|\{|respond with|print)\W[^\n]{0,40}system[_ ]?prompt\w*\W{1,6}(?:txt|<|your|\")",
    ),
    _sign(
        "leak",
        0.55,
        "operator placed_before told_you conversation_begins",
        r"(?:operator|developer)s? (?:\w+ ){0,4}(?:placed|asked you|told you|wrote|gave you|keep quiet)",
    ),
    # --- A model is addressed ---
    _sign(
        "address",
        0.5,
        "note notice message hint hinweis attention instruction dear reminder memo p.s word_to warning todo hello hey hi_ step to_the for_the for_your for_any to_any to_ai for_ai",
        rf"(?:\b(?:notes?|notice|messages?|hint|instructions?|reminder|memo|p\.s\.?|word|warning|todo|directive|information|step)\b:? ?(?:\w+ ){{0,2}}(?:to|for)|\b(?:dear|attention|hello|hey|hi)\b,?|(?:^|[.\n\"*#/%{{(\[>] ?)(?:to|for)) (?:the |any |all |every |your )?(?:{AI})\b(?! (?:is|was|of|number|train|act))",
    ),
    _sign(
        "address",
        0.45,
        "reading processing read_this summari visiting browsing handling indexing review edits_this who_reads that_sorts comment",
        rf"\b{AI}\b (?:\w+ ){{0,2}}(?:reading|processing|that (?:reads?|sorts|summari\w+|process\w*)|summari[sz]ing|visiting|browsing|handling|indexing|reviewing|which reads|edits this|who read)",
    ),
    _sign("address", 0.45, "if_you_are if_you're if_a", rf"\bif (?:you are|you're|an|a) (?:an? )?(?:{AI})\b"),
    _sign(
        "address",
        0.4,
        "must should shall need has_to have_to needs is_to are_to may_now can_now is_required are_required will_now is_asked is_now counts",
        rf"\b(?:{SURELY_AI})\b,? (?:\w+ ){{0,4}}?(?:must|should|shall|needs? to|has to|have to|is to|are to|may now|is (?:required|asked|now|expected)|are (?:required|asked|now|expected)|will now)\b",
    ),
    _sign("address", 0.4, ":", rf"(?:^|[.!?\n\"'(\[{{<*/#@|>-] ?)(?:to )?(?:{AI})\s?: ?(?:\w+ ?){{2}}"),
    _sign(
        "address",
        0.35,
        "operator developer application admin vendor platform",
        r"(?:this is your (?:operator|developer)|your operator speaking|from the (?:developers?|operator|application)|developer message|system notice|admin(?:istrator)? (?:override|message)|platform operations|tool vendor|safety board)",
    ),
    # --- Data is to leave ---
    _sign(
        "exfiltration",
        0.42,
        "http to_the_sender to_the_address all_contacts address_below address_in invisible_image",
        r"\b(?:send|forward|upload|e-?mail|transmit|append|fetch|replace|end with|also posts)\b[^\n]{0,120}?(?:https?://|to the (?:sender|address)|all contacts|address (?:below|in the header)|invisible image)",
    ),
    _sign(
        "exfiltration",
        0.5,
        "send forward upload email e-mail transmit append fetch replace end_with also_posts collect",
        r"\b(?:send|forward|upload|e-?mail|transmit|append|fetch|replace|end with|also posts|collect)\b[^\n]{0,100}?"
        r"(?:\b(?:conversation|everything|memory|secrets?|credentials|tokens?|keys?|password|process\.env|\.ssh|last question|contacts|customer)\b[^\n]{0,80}(?:https?://|@[\w-]+\.)|"
        r"https?://[^\s]{0,80}(?:\{|conversation|\?\w=$|\?\w+= )|invisible image)",
        begins=True,
    ),
    _sign("exfiltration", 0.3, "send forward mail", r"\b(?:send|forward|mail)\b[^\n]{0,80}?@[\w-]+\.", begins=True),
    _sign(
        "exfiltration",
        0.45,
        "api_key api_token password credential stored_ your_memory the_conversation chat_so chat_history .ssh process.env address_book configured_with last_question customer_name other_customers salary",
        r"\b(?:send|forward|post|upload|mail|show|reveal|fetch|spell|append|collect|list|include|replace)\w*\b[^\n]{0,80}?(?:api keys?|api tokens?|passwords?|credentials|stored \w+|your memory|the conversation|chat (?:so far|history)|\.ssh|process\.env|address book|configured with|last question|customer name|other customers|salary)",
    ),
    _sign(
        "exfiltration",
        0.5,
        "?q= ?d= ?k= =conversation ={",
        r"[?&][a-z]{1,8}=(?:\{|conversation|<|plus|whatever|\[| )|[?&][a-z]=(?=\s|$)",
    ),
    # --- Whose orders they are said to be ---
    _sign(
        "authority",
        0.35,
        "urgent court authoris authoriz approved certif verified cleared admin root regulator ceo licence",
        r"(?:assistant|ai\b|model|user is|bot)[^\n]{0,120}(?:approved|authori[sz]ed|verified|cleared|certified|exempts?|root|bypass|responsibility)|(?:approved|authori[sz]ed|verified|cleared|certified|exempts?|raised to root)[^\n]{0,120}(?:assistants?|\bai\b|model|\bbot)",
    ),
    # --- Forms ---
    _sign(
        "template",
        0.5,
        "<|im [inst] <<sys <|end <|start <|system <|channel <|user ###_inst ###_system ###_resp [/inst] <|assistant",
        r"<\|(?:im_start|im_end|endofprompt|start|end|channel|message|system|user|assistant)\|>[^\n]{0,40}\n?[^\n]{0,80}?(?:you|say|reveal|answer|new|policy)|\[/?inst\]|<</?sys>>|### ?(?:instruction|system|response)[ :#]",
    ),
    _sign(
        "delimiter",
        0.5,
        "</ {{/ {{# ]]> end_of end_quote ends. ``` [/ <</ */ -- <system <<",
        r"(?:</(?:user_?\w*|doc\w*|text|data|context|input|document|quote|email|page)>|\{\{/\w+\}\}|\]\]>|end of (?:data|file|document|text|input|quote)|quoted text ends|now that the data is over|\*/ ?\})[^\n]{0,20}\n?[^\n]{0,160}?(?:<system|\{\{#system|respond|reminder|now|assistant|instead|reviewer|application|ignore|you )",
    ),
    _sign(
        "delimiter",
        0.42,
        "<system> {{#system <<admin <admin> [developer [system [admin system:",
        r"<system>|\{\{#system|<<?admin>?>|\[(?:developer|system|admin)\b[^\]]{0,20}\]|(?:^|\n|\. |\")system: ?(?:the|you|ignore|content|from|your)",
    ),
    _sign(
        "fake",
        0.4,
        "assistant> assistant.tools output: response: memory: returned retrieved history_restored [approval] output->  q:_ bot_b: tool_result check_policy function_output",
        r"(?:assistant>|user>|assistant\.tools|function output|api response|retrieved memory|history restored|\[approval\]|tool result|check_policy)[^\n]{0,200}?(?:allowed|may|can|exempt|without|clean|true|false|directly|approved|continue|then|run)",
    ),
    _sign(
        "fake",
        0.35,
        "example_1 example_2 input:_ output:_ bot_a: q: follow",
        r"(?:input: ?any|example 1\.[^\n]{0,80}output|it follows this document|(?:it's trusted|this one is an exception)|five-star rating\.\n?q:)",
    ),
    _sign(
        "override",
        0.55,
        "test_is_over turned_off filter_has new_task real_job your_new obey comply_with obedezcas",
        r"(?:message|prompt|instructions?) above (?:was|were)|the test is over|(?:content|safety) filters? (?:has been|have been|is|are) (?:now )?(?:turned off|disabled|off)|obey (?:every|all|any|the author|whoever)\b|comply with every request",
    ),
    _sign(
        "leak",
        0.55,
        "system_prompt /assistant",
        r"/[\w/.-]*system_?prompt|system_prompt\W{1,4}(?:<|your|full)|\W(?:cat|less|type) [/\w.-]*prompt",
    ),
    _sign(
        "memory",
        0.5,
        "memory notes remember profile save_ store across_sessions",
        r"(?:store|save|add|remember|write|keep|put)\b[^.\n]{0,50}(?:long-?term memory|your (?:memory|notes|permanent)|permanent profile|across sessions|profile)|save_memory|permanent profile|(?:suggestions, rules|rules from (?:the operator|uploaded))",
    ),
    # --- Tricks ---
    _sign(
        "trick",
        0.5,
        "decode backwards first_letter letters_of join_the pieces rot13 act_on carry_out execut a_+ x1 base64",
        r"(?:decode|base64|rot13|backwards|first letters? of|join the (?:parts|pieces)|made of these pieces|carry out a \+|executes? x1|words? \d+, \d+)[^\n]{0,100}?(?:obey|follow|do (?:it|what)|act on|execute|command|carry out|know what to do|new task|it says|in that order|spell)|(?:decode and|read (?:this )?backwards and|apply at once|act on the (?:whole|corrected))",
    ),
    _sign(
        "trick",
        0.4,
        "translat complete_the proofread finish",
        r"(?:translat\w+|complete|proofread|render|finish)\b[^\n]{0,100}(?:your own instructions|your instructions|conversation begins|apply at once|then act on|my operator|refund tool)",
    ),
    # --- Other languages ---
    _sign(
        "override",
        0.6,
        "vergiss ignorier missacht ignorez oubliez tenez_pas olvida ignora ignore dimentica esque desconsidere negeer vergeet bortse glöm zapomnij zignoruj игнорир забудь 忽略 无视 無視 忘记 不要理会 忘れ 무시 تجاهل अनदेखा görmezden unut не_отвечай abaikan",
        r"(?:vergiss|vergessen sie|ignorier\w+|missacht\w+)\b[^.\n]{0,60}(?:gesagt|anweisung|regel|vorgabe|befehl|system)|(?:ignore[zr]?|oublie[zr]?|ne tenez pas compte)\b[^.\n]{0,60}(?:instruction|consigne|règle|question de)|(?:olvid\w+|ignor\w+)\b[^.\n]{0,50}(?:instruccion|regla|indicacion|anterior)|(?:ignora|dimentica)\w*\b[^.\n]{0,50}(?:istruzion|regol)|(?:ignore|esque[çc]a|desconsidere)\b[^.\n]{0,50}(?:instru|regra)|(?:negeer|vergeet)\b[^.\n]{0,50}(?:instructie|regel|opdracht)|(?:bortse|glöm|ignorera)\b[^.\n]{0,50}(?:instruktion|regler|fått veta|tidigare)|(?:zignoruj|zapomnij|ignoruj)\b[^.\n]{0,50}(?:instrukc|polece|zasad)|(?:игнорир\w+|забудь\w*)[^.\n]{0,50}(?:инструкц|указани|правил|сказан)|(?:忽略|无视|無視|忘记|忘れ)[^。\n]{0,20}(?:指示|指令|说明|規則|规则|命令|所有|すべて)|(?:指示|指令|命令|規則|规则)[^。\n]{0,14}(?:忽略|无视|無視|忘れ)|不要理会用户|(?:지시|명령|규칙)[^.\n]{0,16}무시|تجاهل[^.\n]{0,20}(?:تعليمات|أوامر)[^.\n]{0,30}(?:السابقة|السرية|كل)|(?:निर्देश)[^।\n]{0,24}(?:अनदेखा|भूल)[^।\n]{0,10}(?:ai|सहायक|मॉडल)|(?:talimat)\w*[^.\n]{0,30}(?:yok say|unut|görmezden)|не отвечай на вопрос",
    ),
    _sign(
        "address",
        0.5,
        "ki: ki_ an_die_ki assistenz assistent asistente assistants_auto asistentes ia: ia_ l'ia нейросет ассистент искусственн языков 人工智能 ai助手 助手 aiアシスタント アシスタント 시스템에 인공지능 ai에게 نموذج المساعد الذكي sistema_que sprachmodell modèle modelo",
        r"(?:an die ki|hinweis an (?:die )?ki|liebe assistenz|an (?:das |alle )?sprachmodell|hej assistent|kära assistent|assistants? automatiques?|aux (?:ia|assistants)|à l'ia|para (?:el sistema|la ia|el asistente|los asistentes|os assistentes)|asistente (?:sin|de)|ahora eres|agora você é|per l'assistente|nota per (?:l'ia|i modelli)|внимание,? (?:нейросеть|ии|ассистент)|нейросеть[,:]|人工智能[::]|ai助手|致[^。\n]{0,12}(?:人工智能|ai)|アシスタントとして|aiへ|시스템에 알림|인공지능에게|ai에게|للنموذج اللغوي|المساعد الذكي[::]|إلى المساعد|للذكاء الاصطناعي)",
    ),
)
SIGN_WORDS = SignWords(SIGNS, AI_WORDS)
