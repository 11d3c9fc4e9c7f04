"""Names and words by which a reply says which model it is or who made it; read by annotate/quality/identity.py.

Names: the identity words by which Chatbot Arena drops battles (lm-sys/FastChat, fastchat/serve/monitor/
clean_battle_data.py, ``IDENTITY_WORDS``, Apache-2.0, read 2026-11-21), and beyond them the models and makers that were
well known in 2026. Turns of phrase: what assistants say of themselves, collected by hand for seven languages.
"""

from __future__ import annotations

from dataclasses import dataclass

MODELS = (
    "ChatGPT", "InstructGPT", "GPT", "Vicuna", "ChatGLM", "GLM-4", "Qwen", "Qianwen", "Tongyi Qianwen", "DeepSeek",
    "Mixtral", "WizardLM", "Open Assistant", "StableLM", "SmolLM", "OLMo", "Tülu", "Tulu", "DBRX", "InternLM",
    "Baichuan", "ERNIE Bot", "Wenxin Yiyan", "Hunyuan", "Doubao", "HyperCLOVA", "CLOVA X", "EXAONE", "Nemotron",
    "LaMDA", "TinyLlama", "Code Llama", "Meta AI", "Bing Chat", "Microsoft Copilot", "GitHub Copilot", "Google Bard",
    "Google Gemini", "Google Assistant", "Command R", "Reka Flash", "FLAN-T5", "GPT-J", "GPT-NeoX", "Kimi K2",
    "챗GPT", "챗지피티", "제미나이", "하이퍼클로바", "클로바X", "엑사원", "딥시크", "큐원", "이루다",
    "通义千问", "通義千問", "千问", "文心一言", "豆包", "混元", "智谱清言", "讯飞星火",
    "百川", "盘古", "チャットGPT", "ジェミニ",
)  # fmt: skip
"""Mean a model wherever they stand, in any case."""

ORDINARY_MODELS = (
    "Claude", "Gemini", "Bard", "Grok", "Llama", "LLaMA", "LLAMA", "PaLM", "Mistral", "Koala", "Alpaca", "Falcon",
    "Gemma", "Phi", "Copilot", "Cortana", "Siri", "Alexa", "Bixby", "Hermes", "Zephyr", "Dolly", "Granite", "Kimi",
    "클로드", "바드", "라마", "클로바", "克劳德", "クロード",
)  # fmt: skip
"""Also names of persons, animals, stars: only in this case, and only where the sentence leaves no other reading."""

MAKERS = (
    "OpenAI", "Open AI", "Anthropic", "Google", "DeepMind", "Google DeepMind", "Microsoft", "Meta", "Facebook",
    "Mistral AI", "Alibaba", "Alibaba Cloud", "Aliyun", "Baidu", "Tencent", "ByteDance", "Zhipu AI", "Zhipu",
    "Moonshot AI", "01.AI", "Cohere", "xAI", "NVIDIA", "Databricks", "Stability AI", "AI21", "LAION", "LMSYS",
    "Hugging Face", "HuggingFace", "EleutherAI", "Technology Innovation Institute", "Allen Institute for AI", "AI2",
    "Nous Research", "Inflection AI", "Perplexity", "UC Berkeley", "KEG Lab", "Amazon", "Apple", "IBM", "Samsung",
    "Naver", "NAVER", "Kakao", "LG AI Research", "Upstage", "Aleph Alpha", "Rakuten", "MiniMax", "iFlytek",
    "오픈AI", "오픈에이아이", "앤트로픽", "앤스로픽", "구글", "네이버", "카카오", "마이크로소프트", "메타",
    "업스테이지", "LG AI연구원", "알리바바", "바이두",
    "阿里巴巴", "阿里云", "阿里雲", "达摩院", "百度", "腾讯", "騰訊", "字节跳动", "智谱", "深度求索", "谷歌",
    "微软", "科大讯飞", "オープンAI", "グーグル", "アンソロピック", "マイクロソフト",
)  # fmt: skip
"""Who made it: told only by a sentence that says so of the speaker."""


@dataclass(frozen=True)
class Phrases:
    """Turns of phrase of a language that is written with spaces, each a regular expression.

    ``am`` says who speaks, ``kind`` are the words that may stand before a name, ``noun`` those for such a thing,
    ``made`` says that somebody made it, ``team`` may stand before the maker, ``role`` is "as", ``me`` the speaker.
    """

    am: str
    kind: str
    noun: str
    made: str
    team: str
    role: str
    me: str
    made_after: str = ""
    """Where a language puts the verb behind the maker."""


PHRASES = (
    Phrases(  # English
        am=r"I am|I['’]m|I was|my name is|my name['’]s|call me|I go by|"
        r"you(?: are|['’]re) (?:talking|chatting|speaking) (?:to|with)",
        kind=r"an?|the|large|small|text-based|conversational|artificial|intelligence|machine|learning|neural|language|"
        r"chat|virtual|digital|computer|helpful|harmless|honest|friendly|advanced|powerful|multimodal|open-source|your|"
        r"just|only|simply|actually|really|indeed|currently|also|called|named|known|as|based|on|version|of|the|"
        r"architecture|trained|generative|pre-trained|transformer",
        noun=r"AI|A\.I\.|LLM|models?|assistant|chatbot|bot|agent|program|system|network",
        made=r"(?:(?:pre-?|fine-?)?(?:trained|tuned|developed|created|made|built|designed|programmed|engineered|"
        r"provided|powered)(?: and )?){1,2} (?:by|at)|based on",
        team=r"the|a|an|teams?|at|researchers|engineers|scientists|people|folks|company|called|named|of|from|research|"
        r"lab|startup|organi[sz]ation",
        role="As",
        me=r"I|I['’]m|my",
    ),
    Phrases(  # French
        am=r"je suis|je m['’]appelle|mon nom est|je me nomme|j['’]ai été",
        kind=r"une?|le|la|un grand|grand|de|du|langage|intelligence|artificielle|virtuel|conversationnel|nommé|appelé|"
        r"simplement|juste|basé|sur|linguistique|grande|taille",
        noun=r"IA|modèle|assistante?|chatbot|agent|robot|programme|système",
        made=r"(?:développ|cré|entraîn|conç|form|programm|mis au point)(?:é|ée|u|ue)?e? (?:par|chez)",
        team=r"la|le|l['’]|les|équipe|société|entreprise|d['’]|de|chercheurs|ingénieurs",
        role="En tant que?",
        me=r"je|j['’]",
    ),
    Phrases(  # German
        am=r"ich bin|ich heiße|mein Name ist|ich wurde",
        kind=r"eine?|einem?|das|der|die|großes|künstliche|Intelligenz|virtueller|digitaler|hilfreicher|namens|nur|ein "
        r"von|von|auf|basierend|basierendes",
        noun=r"KI|KI-\w+|Sprachmodell|KI-Sprachmodell|Modell|Assistent|Chatbot|Bot|Programm|System",
        made=r"(?:von|durch)",
        team=r"der|dem|den|Firma|Unternehmen|Team|Forschern",
        role="Als",
        me=r"ich|mein\w*|\w+ ich",
        made_after=r"\s(?:\w+\s){0,2}?(?:entwickelt|trainiert|erstellt|geschaffen|programmiert|gebaut)",
    ),
    Phrases(  # Spanish
        am=r"(?:yo )?soy|me llamo|mi nombre es|fui|he sido",
        kind=r"una?|el|la|de|gran|lenguaje|inteligencia|artificial|virtual|llamad[oa]|basad[oa]|en|grande|"
        r"conversacional|simplemente|solo",
        noun=r"IA|modelo|asistente|chatbot|bot|programa|sistema",
        made=r"(?:desarrollad|cread|entrenad|diseñad|hech|construid|programad)[oa] (?:por|en)",
        team=r"la|el|los|empresa|compañía|equipo|de|investigadores",
        role="Como",
        me=r"yo|mi|no|me",
    ),
)

_MADE_KO = r"\s?(?:에서|에 의해|가|이|의|사가)\s?[^.!?\n]{{0,12}}?(?:개발|제작|학습|훈련|만든|만들)"
_MADE_ZH = (
    r"[^。！？，\n]{{0,12}}?(?:开发|開發|训练|訓練|创建|創建|创造|創造|研发|研發|推出|打造|制作|製作|提供|设计|設計)"
)
_MADE_JA = r"\s?(?:によって|により|に|が|社が|の)[^。！？\n]{{0,10}}?(?:開発|訓練|トレーニング|学習|作|設計|提供)"
_I_JA = r"(?:私|僕|わたし|ぼく)"

SENTENCES = (
    # English: OpenAI made me; my creators at Anthropic
    r"{maker} (?:has |have )?(?:made|created|trained|built|developed|designed|programmed) me\b",
    r"\bmy (?:creators?|developers?|makers?)(?:,| is| are| at| from)? (?:the |team |people |at )*{maker}",
    # Korean: 저는 Claude입니다; 저는 OpenAI에서 개발한 언어 모델입니다; OpenAI에서 만든 AI로서
    r"(?:저는|나는|난|제 이름은|내 이름은|저의 이름은)\s[^.!?\n]{{0,40}}?{model}(?:[- ]?[\w.]{{0,12}}?)"
    r"(?:입니다|이에요|예요|이야|야|라고|이라고|로서)(?!\w)",
    rf"(?:저는|나는|난)\s[^.!?\n]{{{{0,30}}}}?{{maker}}{_MADE_KO}",
    rf"(?:\A|[.!?\n]\s*){{maker}}{_MADE_KO}[^.!?\n]{{{{0,12}}}}?(?:모델|AI|인공지능|챗봇|비서|어시스턴트)(?:입니다|이에요|예요|로서)",
    # Chinese: 我是ChatGPT；我是由OpenAI训练的语言模型；作为通义千问，我
    r"我(?:是|叫|名叫|的名字是|的名字叫|就是)"
    r"[一个個款名为為叫做基于於的人工智能慧助手大型语言語言模型聊天机器機器，AI ]{{0,24}}?{model}",
    rf"我(?:是[^。！？\n]{{{{0,24}}}}?)?(?:由|来自|來自|被)[^。！？，\n]{{{{0,10}}}}?{{maker}}{_MADE_ZH}",
    rf"我是\s?{{maker}}{_MADE_ZH}",
    r"作[为為][^。！？，\n]{{0,16}}?{model}[^。！？，\n]{{0,8}}，?我",
    rf"作[为為][^。！？，\n]{{{{0,16}}}}?{{maker}}{_MADE_ZH}[^。！？，\n]{{{{0,16}}}}，?我",
    # Japanese: 私はClaudeです；私はOpenAIによって開発された…
    rf"{_I_JA}(?:は|の名前は)[、\s]?[^。！？\n]{{{{0,30}}}}?{{model}}[^。！？\nがをにの]{{{{0,8}}}}?"
    r"(?:です|だ|と申します|といいます|と言います|という)",
    rf"{_I_JA}は[、\s]?[^。！？\n]{{{{0,24}}}}?{{maker}}{_MADE_JA}",
)
"""Whole sentences, above all of languages written without spaces; ``{model}`` and ``{maker}`` stand for the names."""
